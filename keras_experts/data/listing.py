"""Finding the image files below folders, and counting what is skipped."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from keras_experts.console import say

# Files with other endings, or none, are told by their first bytes.
ENDINGS = (".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg")
ENDINGS += (".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff")
ENDINGS += (".webp",)
# Photos that Pillow does not read: counted as unreadable images.
RAW_ENDINGS = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
UNREAD_ENDINGS = (".heic", ".heif", *RAW_ENDINGS)
SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM....\0\0\0\0"
    rb"|II[*+]\0|MM\0[*+]|RIFF....WEBP|\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51"
    rb"|....ftyp(?:avi[fs]|hei[cx]|mif1)|P[1-6]\s",
    re.DOTALL,
)
SIGNATURE_BYTES = 16

# What operating systems, network drives and editors leave in folders, in lower
# case; so is every name that begins with a dot.
SYSTEM_FILES = ("desktop.ini", "ehthumbs.db", "icon\r", "thumbs.db")
SYSTEM_FOLDERS = ("#recycle", "#snapshot", "$recycle.bin", "@eadir")
SYSTEM_FOLDERS += ("__macosx", "__pycache__", "lost+found")
SYSTEM_FOLDERS += ("system volume information",)

# Why something is skipped: one, and several.
SYSTEM_FILE = ("system file", "system files")
SYSTEM_FOLDER = ("system folder", "system folders")
NOT_IMAGE = ("not an image", "not images")
UNREADABLE = ("unreadable image", "unreadable images")
BROKEN_LINK = ("broken link", "broken links")
REPEATED = ("repeated folder", "repeated folders")  # a link leads there again
UNREADABLE_FOLDER = ("unreadable folder", "unreadable folders")
OUTSIDE = ("image outside the class folders",)
OUTSIDE += ("images outside the class folders",)
EMPTY_FOLDER = ("folder without images", "folders without images")
FOLDERS = (SYSTEM_FOLDER, REPEATED, UNREADABLE_FOLDER, EMPTY_FOLDER)
UNNAMED = (SYSTEM_FILE, SYSTEM_FOLDER)
MAX_NAMES = 5  # shown of each reason


class Skipped:
    """The files that were not used, by reason, for one line that says so.

    Args:
        folder: what the names of files are shown relative to, or None.
        unit: str. What is counted, one and several.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        unit: tuple[str, str] = ("file", "files"),
    ):
        self._folder = folder
        self._unit = unit
        self._names: dict[tuple[str, str], list[str]] = {}

    def add(self, reason: tuple[str, str], name: object, detail: str = ""):
        """Counts a file or a folder, with what was wrong with it."""
        # File systems allow any bytes in names.
        name = str(name).encode(errors="backslashreplace").decode()
        if self._folder is not None:
            name = os.path.relpath(name, self._folder)
        name = f"{name}: {detail}" if detail else name
        self._names.setdefault(reason, []).append(name)

    def __bool__(self) -> bool:
        return bool(self._names)

    def __str__(self) -> str:
        num_all = sum(map(len, self._names.values()))
        num_folders = sum(len(self._names.get(kind, ())) for kind in FOLDERS)
        counts = [
            counted(number, unit)
            for number, unit in (
                (num_all - num_folders, self._unit),
                (num_folders, ("folder", "folders")),
            )
            if number
        ]
        parts = [self._part(reason) for reason in self._names]
        return f"skipped {' and '.join(counts)}: {', '.join(parts)}"

    def say(self, kept: str) -> None:
        """Prints one line to stderr, unless nothing was skipped.

        Args:
            kept: str. What is used, such as "40 images in 3 classes"; the
                name of the folder stands before it.
        """
        if self:
            name = Path(self._folder).resolve().name if self._folder else ""
            say(f"{name and f'{name}: '}{kept}; {self}")

    def _part(self, reason: tuple[str, str]) -> str:
        names = self._names[reason]
        text = counted(len(names), reason)
        if reason in UNNAMED:
            return text
        shown = names[:MAX_NAMES]
        if len(names) > len(shown):
            shown.append(f"and {len(names) - len(shown)} more")
        return f"{text} ({'; '.join(shown)})"


def list_images(
    folder: str | Path, skipped: Skipped, above: Iterable[str | Path] = ()
) -> list[Path]:
    """Lists the image files below a folder, sorted.

    Links to files and to folders are followed. Files with an ending of images
    are taken for images, others are told by their first bytes.

    Args:
        folder: path.
        skipped: Skipped, to which the other files are added.
        above: folders that are not entered again through a link, besides the
            ones that `folder` is in.
    """
    visited = _identities(folder, above)
    images, pending = [], [os.fspath(folder)]
    while pending:
        current = pending.pop()
        for entry in _scan(current, skipped):
            if not _is_kept(entry, skipped):
                continue
            if not entry.is_dir():
                if _is_image(entry):
                    images.append(entry.path)
                else:
                    skipped.add(NOT_IMAGE, entry.path)
            elif _is_new(entry, visited, skipped):
                visited.add(_identity(entry))
                pending.append(entry.path)
    return sorted(map(Path, images))


def list_folders(folder: str | Path, skipped: Skipped) -> list[str]:
    """Lists the names of the sub-folders, sorted, without system folders.

    Args:
        folder: path.
        skipped: Skipped, to which the files beside them are added.
    """
    names, visited = [], _identities(folder, ())
    for entry in _scan(os.fspath(folder), skipped):
        if not _is_kept(entry, skipped):
            continue
        if not entry.is_dir():
            is_image = _is_image(entry)
            skipped.add(OUTSIDE if is_image else NOT_IMAGE, entry.path)
        elif _is_new(entry, visited, skipped):
            names.append(entry.name)
    return sorted(names)


def is_system(name: str, is_folder: bool) -> bool:
    """Returns whether a name is one of operating systems and editors."""
    known = SYSTEM_FOLDERS if is_folder else SYSTEM_FILES
    return name.startswith(".") or name.lower() in known


def _scan(folder: str, skipped: Skipped) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError:
        skipped.add(UNREADABLE_FOLDER, folder)
        return []


def _is_kept(entry: os.DirEntry, skipped: Skipped) -> bool:
    """Returns whether an entry is a folder or a file to look at."""
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError:  # a link to itself
        is_folder = is_file = False
    if is_system(entry.name, is_folder):
        skipped.add(SYSTEM_FOLDER if is_folder else SYSTEM_FILE, entry.path)
        return False
    if not (is_folder or is_file):
        # The others are pipes and devices.
        reason = BROKEN_LINK if entry.is_symlink() else NOT_IMAGE
        skipped.add(reason, entry.path)
    return is_folder or is_file


def _is_image(entry: os.DirEntry) -> bool:
    """Returns whether a file's name or its first bytes are an image's."""
    ending = os.path.splitext(entry.name)[1].lower()
    if ending in ENDINGS or ending in UNREAD_ENDINGS:
        return True
    try:
        with open(entry.path, "rb", buffering=0) as file:
            return SIGNATURES.match(file.read(SIGNATURE_BYTES)) is not None
    except OSError:
        return True  # reading it will tell what is wrong


def _is_new(entry: os.DirEntry, visited: set, skipped: Skipped) -> bool:
    """Returns whether a folder is not among the visited ones."""
    is_new = _identity(entry) not in visited
    if not is_new:
        skipped.add(REPEATED, entry.path)
    return is_new


def _identities(folder: str | Path, above: Iterable[str | Path]) -> set:
    """Returns what tells a folder and those around it from others."""
    path = Path(folder)
    around = (path, *path.absolute().parents, *path.resolve().parents, *above)
    return set(map(_identity, around))


def _identity(path: os.DirEntry | Path | str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def counted(number: int, words: tuple[str, str]) -> str:
    """Returns a number with the word for one or for several."""
    return f"{number} {words[number != 1]}"
