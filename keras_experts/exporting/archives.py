"""Modules as archives, the same bytes each time."""

import gzip
import tarfile
from pathlib import Path

from keras_experts import files

# Weights hardly compress, whatever the level.
LEVEL = 1


def pack(folder: Path, path: Path) -> None:
    """Packs what a folder holds, with no folder above, whole or not at all.

    Names are sorted; times, owners and rights are left out. Folders are
    members of their own: tensorflow_hub makes none that is not.

    Args:
        folder: of a SavedModel.
        path: of the archive to write.
    """
    members = sorted(
        (member.relative_to(folder).as_posix(), member)
        for member in folder.rglob("*")
    )
    with (
        files.whole_file(path) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as compressed,
        tarfile.open(
            fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT
        ) as archive,
    ):
        for name, source in members:
            member = tarfile.TarInfo(name)
            if source.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
                continue
            member.size, member.mode = source.stat().st_size, 0o644
            with open(source, "rb") as content:
                archive.addfile(member, content)
