"""Pools: from what a user names to the modules it means."""

import dataclasses
import os
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from keras_experts.checks import as_list
from keras_experts.config import find_shared
from keras_experts.mediums import IMAGES
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_files
from keras_experts.saved_models import references
from keras_experts.saved_models.keras_files import UNIT_RANGE
from keras_experts.selection.names import rename_apart
from keras_experts.selection.pool_files import read_pool_file

SHIPPED = re.compile(r"\w+")  # the name of a pool of ours
HELPERS = (handles.EPN, handles.PREPROCESSOR)  # kinds that give no features


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One module of a pool.

    Attributes:
        handle: str. Path or URL of a SavedModel, or a part of one; of a
            function, what reports call it.
        name: str. What reports call it.
        kind: str. "baseline", "adapter", "full", "epn", or None where nobody
            tells.
        image_size: int. Side of its images, pixels, or None for what the
            module tells of itself.
        input_range: two floats. Values of black and white.
        head: str. Module whose upstream head acts on its features, or None.
        function: a Keras model, or another function of float images `(batch,
            height, width, 3)` to features `(batch, channels)`; else None.
    """

    handle: str
    name: str
    kind: str | None = None
    image_size: int | None = None
    input_range: tuple[float, float] = UNIT_RANGE
    head: str | None = None
    function: Callable | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether it is what experts must beat."""
        return self.kind == handles.BASELINE


@dataclasses.dataclass(frozen=True)
class Source:
    """What is loaded at a time: a SavedModel with all its parts, or a function.

    Attributes:
        module: str. Path or URL of a SavedModel, without a part; of texts,
            with its preprocessor where it needs one.
        image_size: int. Side of its images, pixels; 0 of texts.
        input_range: two floats. Values of black and white.
        function: function of images or of texts, or None.
        medium: str. What it takes, "images" or "texts".
        has_custom_code: bool. Whether it is a Keras file whose layers are
            registered in this process, and not known to others.
    """

    module: str
    image_size: int
    input_range: tuple[float, float] = UNIT_RANGE
    function: Callable | None = None
    medium: str = IMAGES
    has_custom_code: bool = False

    @property
    def runs_here(self) -> bool:
        """True if the module can only run in this process."""
        return self.function is not None or self.has_custom_code

    def name_of(self, part: str | None) -> str:
        """Gives the handle of a part."""
        return self.module if part is None else f"{self.module}#{part}"


Named = str | Path | Candidate | Callable


def expand(
    modules: Named | Iterable[Named], skipped: dict[str, str] | None = None
) -> list[Candidate]:
    """Returns the candidates of a pool, each once, with their baseline.

    Args:
        modules: what the user named, one or several: collections (folders
            that `export` wrote), SavedModel folders, `BANK#expert`, URLs, any
            of these with its preprocessor of texts (`ENCODER@PREPROCESSOR`),
            pool files with one of these a line, names of pools of ours in
            `export/pools/`, "builtin", which is the bank in `export/builtin/`,
            Keras models, other functions of images, and Candidates. In a pool
            file `baseline`, `image_size=299` and `input_range=-1,1` may follow
            a module.
        skipped: dict. Receives the reason for each module that cannot be
            opened, by its name; such a module is skipped. None to raise the
            error of the first one instead.

    Returns:
        list of Candidate, without expert prediction networks. Where no module
        is a baseline, that of the first expert which has one is added.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a folder holds no module, a collection.json is not one
            of ours, a pool file leads back to itself, or every module is
            skipped.
    """
    found = _expand_all(modules, skipped)
    found = [c for c in found if c.kind not in HELPERS]
    if not found:
        reasons = "; ".join((skipped or {}).values())
        raise ValueError(
            "A pool (`--modules`) must hold at least one module. "
            f"Received: {reasons or 'none.'}"
        )
    if not any(candidate.is_baseline for candidate in found):
        beside = filter(None, map(_baseline_of, found))
        found += [baseline for baseline in beside][:1]
    # Functions have no place: their handles are numbers of this process.
    places = ["" if c.function else c.handle for c in found]
    return rename_apart(found, places)


def prediction_networks(modules: Iterable[Named]) -> list[Candidate]:
    """Returns the expert prediction networks of a pool.

    Args:
        modules: as in `expand`; those that cannot be opened are ignored.
    """
    return [c for c in _expand_all(modules, {}) if c.kind == handles.EPN]


def _expand_all(
    modules: Iterable[Named], skipped: dict[str, str] | None
) -> list[Candidate]:
    found: dict[str, Candidate] = {}
    for module in as_list(modules):
        for candidate in _expand_or_skip(module, (), skipped):
            known = found.setdefault(candidate.handle, candidate)
            if (known.image_size, known.input_range) != (
                candidate.image_size,
                candidate.input_range,
            ):
                raise ValueError(
                    "A module may be in a pool with one size and range alone. "
                    f"Received: {candidate.handle} with several."
                )
    return list(found.values())


def _expand_or_skip(
    module: Named, pools: tuple[Path, ...], skipped: dict[str, str] | None
) -> list[Candidate]:
    try:
        return _expand_one(module, pools, skipped)
    except (OSError, ValueError) as error:
        if skipped is None:
            raise
        skipped[str(module)] = str(error)
        return []


def _expand_one(
    module: Named, pools: tuple[Path, ...], skipped: dict[str, str] | None
) -> list[Candidate]:
    if isinstance(module, Candidate):
        return [module]
    if callable(module):
        return [_of_function(module)]
    module, preprocessor = references.split_preprocessor(str(module))
    if preprocessor is not None:
        return [
            dataclasses.replace(c, handle=f"{c.handle}@{preprocessor}")
            for c in _expand_one(module, pools, skipped)
        ]
    path = Path(module)
    if references.is_url(module):
        return [Candidate(module, module)]
    inner, part = references.split(module)
    if part is not None and handles.place(inner).exists():
        return _part(Path(inner), part)
    shipped = find_shared("export/pools", "export_pools") / f"{module}.txt"
    if not path.exists() and SHIPPED.fullmatch(module) and shipped.exists():
        return _read_pool(shipped, pools, skipped)
    if module == handles.BUILTIN and not path.exists():
        return _local(path)
    if not path.exists():
        raise FileNotFoundError(
            "A module must be a collection, a SavedModel folder, a URL or a "
            f"pool file. Received: {module!r}, which does not exist."
        )
    if keras_files.is_keras_file(path):
        return [_of_keras_file(path)]
    if path.suffix.lower() in keras_files.OLD_SUFFIXES:
        return [Candidate(str(path), path.stem)]  # which is skipped, by name
    if path.is_file():
        return _read_pool(path, pools, skipped)
    if handles.is_saved_model(path):
        return _local(path)
    if (path / handles.COLLECTION_FILE).exists():
        return _read_collection(path)
    raise ValueError(
        "A folder must be a collection (collection.json) or a SavedModel "
        f"(saved_model.pb). Received: {module!r}, which is neither."
    )


def _of_function(function: Callable) -> Candidate:
    name = getattr(function, "name", None)
    name = name or getattr(function, "__name__", type(function).__name__)
    # Two models may have one name.
    handle = f"{name}@{id(function):x}"
    inputs = [
        keras_files.Input(tuple(tensor.shape), tensor.dtype)
        for tensor in getattr(function, "inputs", None) or ()
    ]
    return dataclasses.replace(
        Candidate(handle, name, function=function), **_fed(inputs)
    )


def _of_keras_file(path: Path) -> Candidate:
    try:
        inputs = keras_files.describe(path).inputs
    except ValueError:
        inputs = []  # it is skipped with this error when it is described
    return Candidate(str(path), path.stem, **_fed(inputs))


def _fed(inputs: list[keras_files.Input]) -> dict:
    """Returns the image size and the range that a Keras network is fed."""
    if len(inputs) != 1:
        return {}
    fed: dict = {"image_size": inputs[0].image_size}
    if inputs[0].is_integer:
        fed["input_range"] = keras_files.BYTE_RANGE
    return fed


def _part(module: Path, part: str) -> list[Candidate]:
    inner = [c for c in _local(module) if c.handle == f"{module}#{part}"]
    return inner or [Candidate(f"{module}#{part}", part)]


def _local(path: Path, head: str | None = None) -> list[Candidate]:
    """Lists a module, or the baseline and the experts of a bank."""
    try:
        metadata = handles.read_metadata(str(path))
    except (FileNotFoundError, ValueError):
        metadata = {}  # loading it will say what is wrong
    kind = metadata.get("kind")
    if kind == handles.BANK:
        names = [row["name"] for row in metadata["experts"]]
        kinds = [handles.BASELINE, *[handles.ADAPTER] * len(names)]
        return [
            Candidate(f"{path}#{name}", name, kind, head=str(path))
            for name, kind in zip(
                (handles.BASELINE, *names), kinds, strict=True
            )
        ]
    if kind == handles.BASELINE:
        head = str(path)
    name = metadata.get("name", str(path))
    return [Candidate(str(path), name, kind, head=head)]


def _read_collection(path: Path) -> list[Candidate]:
    """Lists a collection's modules; a bank's experts where they are none.

    Of several versions it is the latest.
    """
    rows = handles.latest_rows(handles.read_rows(path))
    alone = {row["domain"] for row in rows if row["kind"] == handles.ADAPTER}
    baselines = [
        str(path / row["path"])
        for row in rows
        if row["kind"] == handles.BASELINE
    ]
    # Adapters were trained with the baseline's head, which stayed as it was.
    head = baselines[0] if baselines else None
    found = []
    for row in rows:
        inner = {expert["name"] for expert in row["experts"]}
        is_adapter = row["kind"] == handles.ADAPTER
        if row["kind"] != handles.BANK or not inner <= alone:
            found += _local(path / row["path"], head if is_adapter else None)
    return found


def _baseline_of(candidate: Candidate) -> Candidate | None:
    """Finds the baseline of an expert's bank or collection on this machine."""
    module, part = references.split(candidate.handle)
    if part is not None and candidate.kind == handles.ADAPTER:
        return _part(Path(module), handles.BASELINE)[0]
    if candidate.kind not in (handles.ADAPTER, handles.FULL):
        return None
    beside = Path(module).parent.parent / handles.BASELINE
    versions = [p for p in beside.glob("[0-9]*") if handles.is_saved_model(p)]
    if not versions:
        return None
    return _local(max(versions, key=lambda path: int(path.name)))[0]


def _read_pool(
    path: Path, pools: tuple[Path, ...], skipped: dict[str, str] | None
) -> list[Candidate]:
    found = []
    pools = (*pools, path.resolve())
    for entry, options in read_pool_file(path):
        if Path(entry).resolve() in pools:
            raise ValueError(
                f"A pool file must not name itself. Received: {path}."
            )
        for candidate in _expand_or_skip(entry, pools, skipped):
            found.append(dataclasses.replace(candidate, **options))
    return found


def by_cost(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Orders modules by what they cost; baselines and the cheap come first.

    The cost of a forward pass is taken to go with the bytes of the weights;
    what has to be downloaded comes last.
    """
    return sorted(candidates, key=lambda c: (not c.is_baseline, _bytes(c)))


def _bytes(candidate: Candidate) -> float:
    module, _ = references.split(candidate.handle)
    if references.is_url(module):
        return float("inf")
    if keras_files.is_keras_file(module):
        return os.path.getsize(module)
    folder = handles.place(module) / "variables"
    return sum(path.stat().st_size for path in folder.glob("*"))
