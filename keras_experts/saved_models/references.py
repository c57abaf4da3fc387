"""Module references: the strings by which users name modules.

A reference is `MODULE`, `MODULE#expert`, or either of them followed by
`@PREPROCESSOR`. Paths and URLs may hold both marks themselves, so what exists
decides first, and the structure of paths and URLs second.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

BUILTIN = "builtin"  # reference of the bank that comes with the package

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# How a path begins that is not the name of something inside a URL.
PATH_START = re.compile(r"[/~]|\.\.?/")


@dataclasses.dataclass(frozen=True)
class ModuleRef:
    """A parsed module reference.

    Attributes:
        module: str. Path or URL of a module, or "builtin".
        expert: str. Name of an expert of a bank, or of another callable one
            level deep; None for the module itself.
        preprocessor: str. Path or URL of the module that tokenizes texts, or
            None.
    """

    module: str
    expert: str | None = None
    preprocessor: str | None = None

    def __str__(self) -> str:
        expert = "" if self.expert is None else f"#{self.expert}"
        mark = "" if self.preprocessor is None else f"@{self.preprocessor}"
        return f"{self.module}{expert}{mark}"


def parse(reference: str, folder: str | Path = ".") -> ModuleRef:
    """Parses a module reference.

    Args:
        reference: str. Such as "bank#insect", "https://host/encoder/1", or
            "encoder@preprocessor".
        folder: folder that relative paths start from.

    Returns:
        ModuleRef. "~" at the start of a path is replaced by the home folder.
    """
    folder = Path(folder)
    if _path(reference, folder).exists():
        return ModuleRef(_expand(reference))
    for is_split in (_are_modules, _is_preprocessed):
        for module, preprocessor in _split_at_marks(reference):
            if is_split(module, preprocessor, folder):
                return dataclasses.replace(
                    _parse_expert(module, folder),
                    preprocessor=_expand(preprocessor),
                )
    return _parse_expert(reference, folder)


def split(reference: str) -> tuple[str, str | None]:
    """Returns the module of a reference and the name of its expert, or None."""
    parsed = parse(reference)
    return parsed.module, parsed.expert


def split_preprocessor(reference: str) -> tuple[str, str | None]:
    """Returns a reference without its preprocessor, and that or None."""
    parsed = parse(reference)
    module = dataclasses.replace(parsed, preprocessor=None)
    return str(module), parsed.preprocessor


def is_url(module: str) -> bool:
    """Returns whether a module is named by a URL."""
    return URL.match(module) is not None


def _parse_expert(reference: str, folder: Path) -> ModuleRef:
    module, mark, expert = reference.rpartition("#")
    # A mark further up is of a folder's name.
    if not mark or "/" in expert or _path(reference, folder).exists():
        return ModuleRef(_expand(reference))
    return ModuleRef(_expand(module), expert)


def _split_at_marks(reference: str) -> Iterator[tuple[str, str]]:
    """Yields each split at an "@" that can be one, the last mark first."""
    for mark in reversed([m.start() for m in re.finditer("@", reference)]):
        module, preprocessor = reference[:mark], reference[mark + 1 :]
        # In "https://user@host/module" the mark belongs to the host.
        is_host = is_url(module) and "/" not in module.partition("://")[2]
        if module and preprocessor and not is_host:
            yield module, preprocessor


def _are_modules(module: str, preprocessor: str, folder: Path) -> bool:
    """Returns whether there are modules on both sides of an "@"."""
    is_module = is_url(module) or _exists(module, folder)
    is_start = is_url(preprocessor) or _is_module(preprocessor, folder)
    return is_module and is_start


def _is_preprocessed(module: str, preprocessor: str, folder: Path) -> bool:
    """Returns whether an "@" can only stand before a preprocessor."""
    if is_url(module):
        return PATH_START.match(preprocessor) is not None
    return is_url(preprocessor) or _exists(module, folder)


def _exists(reference: str, folder: Path) -> bool:
    """Returns whether a module, or the bank of an expert, is on this disk."""
    module = _parse_expert(reference, folder).module
    return _is_module(module, folder)


def _is_module(path: str, folder: Path) -> bool:
    place = _path(path, folder)
    inside = (place / name for name in ("saved_model.pb", "collection.json"))
    return path == BUILTIN or place.is_file() or any(p.exists() for p in inside)


def _path(path: str, folder: Path) -> Path:
    return folder / Path(path).expanduser()


def _expand(path: str) -> str:
    """Returns a path or URL with its home folder written out."""
    return str(Path(path).expanduser()) if path.startswith("~") else path
