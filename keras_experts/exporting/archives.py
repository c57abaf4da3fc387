"""Modules as archives, the same bytes each time."""

import gzip
import tarfile
from pathlib import Path

from keras_experts import files

# Weights hardly compress, whatever the level.
LEVEL = 1


def pack(folder: Path, path: Path) -> None:
    """Packs a folder's files, with no folder above them, whole or not at all.

    Names are sorted; times, owners and rights are left out.

    Args:
        folder: of a SavedModel.
        path: of the archive to write.
    """
    members = sorted(
        (file.relative_to(folder).as_posix(), file)
        for file in folder.rglob("*")
        if file.is_file()
    )
    with (
        files.whole_file(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as compressed,
        tarfile.open(
            fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT
        ) as archive,
    ):
        for name, file in members:
            member = tarfile.TarInfo(name)
            member.size = file.stat().st_size
            member.mode = 0o644
            with open(file, "rb") as content:
                archive.addfile(member, content)
