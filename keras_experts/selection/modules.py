"""Pools: from what a user names to the modules it means."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from keras_experts.config import find_shared
from keras_experts.saved_models import handles

SHIPPED = re.compile(r"\w+")  # the name of a pool of ours
COMMENT = re.compile(r"(?:^|\s)#")  # another "#" is that of BANK#expert


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One module of a pool.

    Attributes:
        handle: str. Path or URL of a SavedModel.
        name: str. What reports call it.
        is_baseline: bool. Whether it is the pool's baseline.
    """

    handle: str
    name: str
    is_baseline: bool = False


def expand(modules: Iterable[str | Path]) -> list[Candidate]:
    """Lists the modules of collections, module folders, URLs and pool files.

    Args:
        modules: what the user named. A collection is a folder written by
            `export`; a pool file has one module a line. A pool of ours in
            `export/pools/` goes by its name.

    Raises:
        FileNotFoundError: if a path is not there.
        ValueError: if a folder holds no module, a collection.json is not one
            of ours, or a pool file leads back to itself.
    """
    found: dict[str, Candidate] = {}
    for module in modules:
        for candidate in _expand_one(str(module), ()):
            found.setdefault(candidate.handle, candidate)
    if not found:
        raise ValueError(
            "A pool must hold at least one module. Received: none."
        )
    return list(found.values())


def _expand_one(module: str, pools: tuple[Path, ...]) -> list[Candidate]:
    path = Path(module)
    if "://" in module:
        return [Candidate(module, module)]
    inner, part = handles.split(module)
    if part is not None and Path(inner).exists():
        return [Candidate(module, part, part == handles.BASELINE)]
    shipped = find_shared("export/pools", "export_pools") / f"{module}.txt"
    if not path.exists() and SHIPPED.fullmatch(module) and shipped.exists():
        return _read_pool(shipped, pools)
    if not path.exists():
        raise FileNotFoundError(
            "A module must be a collection, a SavedModel folder, a URL or a "
            f"pool file. Received: {module!r}, which does not exist."
        )
    if path.is_file():
        return _read_pool(path, pools)
    if handles.is_saved_model(path):
        return _local(path)
    if (path / handles.COLLECTION_FILE).exists():
        return _read_collection(path)
    raise ValueError(
        "A folder must be a collection (collection.json) or a SavedModel "
        f"(saved_model.pb). Received: {module!r}, which is neither."
    )


def _local(path: Path) -> list[Candidate]:
    """Lists a module, or the baseline and the experts of a bank."""
    try:
        metadata = handles.read_metadata(str(path))
    except (FileNotFoundError, ValueError):
        metadata = {}  # loading it will say what is wrong
    kind = metadata.get("kind")
    if kind == handles.BANK:
        names = [row["name"] for row in metadata["experts"]]
        return [
            Candidate(f"{path}#{name}", name, name == handles.BASELINE)
            for name in (handles.BASELINE, *names)
        ]
    name = metadata.get("name", str(path))
    return [Candidate(str(path), name, kind == handles.BASELINE)]


def _read_collection(path: Path) -> list[Candidate]:
    """Lists a collection's modules; a bank's experts where they are none."""
    rows = handles.read_rows(path)
    alone = {row["domain"] for row in rows if row["kind"] == handles.ADAPTER}
    found = []
    for row in rows:
        inner = {expert["name"] for expert in row["experts"]}
        if not (inner and inner <= alone):
            found += _local(path / row["path"])
    return found


def _read_pool(path: Path, pools: tuple[Path, ...]) -> list[Candidate]:
    found = []
    pools = (*pools, path.resolve())
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A pool file must be text, one module a line. Received: {path}."
        ) from error
    for line in lines:
        entry = COMMENT.split(line, 1)[0].strip()
        if not entry:
            continue
        if "://" not in entry and not Path(entry).is_absolute():
            entry = str(path.parent / entry)
        if Path(entry).resolve() in pools:
            raise ValueError(
                f"A pool file must not name itself. Received: {path}."
            )
        found.extend(_expand_one(entry, pools))
    return found
