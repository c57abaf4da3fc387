"""What is installed, which data are there, and how to get the rest.

Packages are asked for by their metadata, data sets by the folder that TFDS
makes last; what the suites are is read with TensorFlow, and left out without.
"""

import dataclasses
import fnmatch
import os
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from keras_experts import files
from keras_experts.checks import first_line

NEEDED = (
    *("tensorflow", "keras", "tensorflow-hub", "tensorflow-datasets"),
    *("gin-config", "scikit-learn", "pillow"),
)
# Of each extra, the package that tells whether it is there.
EXTRAS = {
    "text": "tensorflow-text",
    "beam": "apache-beam",
    "plot": "matplotlib",
    "serve": "uvicorn",
}
WORDNET = Path("/usr/share/wordnet/data.noun")
# Parts of the cache; earlier versions copied Keras models to the last one.
CACHE_FOLDERS = ("features", "fingerprints", "index", "keras_models")
PRESENT, MISSING = "present", "missing"
# Of data sets: whether TFDS fetches them by itself, after a download by hand,
# or not at all.
DOWNLOADABLE, MANUAL, BROKEN = "downloadable", "manual", "broken"
# Those that it does not fetch by itself (TFDS 4.9.10).
BY_HAND = {
    "resisc45": (MANUAL, "`tfds build resisc45` says what to download"),
    "diabetic_retinopathy_detection": (MANUAL, "`tfds build` of it says how"),
    "sun397": (BROKEN, "its address is gone (tensorflow/datasets#4807)"),
    "fgvc_aircraft": (
        MANUAL,
        "not in TFDS: prepare a set of one's own of this name",
    ),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        area: str. "package", "extra", "resource", or the name of a suite.
        name: str.
        state: str. "present"; of packages and resources "missing" or
            "broken"; of data sets "downloadable", "manual" or "broken".
        note: str. Which version or where, or how to get it.
    """

    area: str
    name: str
    state: str
    note: str


def examine(data_dir: str | None = None) -> list[Finding]:
    """Looks for packages, resources and the data of all suites.

    Args:
        data_dir: str. The folder of TFDS data sets, or None for TFDS' default.
    """
    found = [_package("package", name, name, "") for name in NEEDED]
    found += [
        _package("extra", extra, name, f"pip install 'keras_experts[{extra}]'")
        for extra, name in EXTRAS.items()
    ]
    found.append(_wordnet())
    cache, size = files.cache_folder(), _cache_bytes()
    note = f"{cache}, {size / 2**20:,.0f} MiB; --clear_cache deletes it"
    found.append(Finding("resource", "cache", PRESENT, note))
    try:
        from keras_experts.evaluation.suites import SUITES
    except ImportError as error:
        note = f"does not import: {first_line(error)}"
        return [*found, Finding("package", "tensorflow", BROKEN, note)]
    place = Path(data_dir or _default_folder())
    for suite in SUITES.values():
        found += _datasets(suite, place)
    return found


def clear_cache() -> int:
    """Deletes what the cache holds, and returns its size in bytes.

    Nothing is lost but time. What others put into the folder stays, since
    `KERAS_EXPERTS_CACHE` may name any folder.
    """
    size = _cache_bytes()
    for name in CACHE_FOLDERS:
        folder = files.cache_folder() / name
        if folder.is_dir():
            shutil.rmtree(folder)
    return size


def _cache_bytes() -> int:
    return sum(
        path.stat().st_size
        for name in CACHE_FOLDERS
        for path in (files.cache_folder() / name).rglob("*")
        if path.is_file()
    )


def _package(area: str, name: str, package: str, how: str) -> Finding:
    try:
        return Finding(area, name, PRESENT, metadata.version(package))
    except metadata.PackageNotFoundError:
        return Finding(area, name, MISSING, how or f"pip install {package}")


def _wordnet() -> Finding:
    if WORDNET.exists():
        return Finding("resource", "WordNet", PRESENT, str(WORDNET.parent))
    how = "Debian: apt install wordnet-base; or wordnet:DIR of your own"
    return Finding("resource", "WordNet", MISSING, how)


def _default_folder() -> str:
    return os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")


def _datasets(suite, place: Path) -> Iterable[Finding]:
    for entry in suite.entries:
        name, _, pattern = entry.dataset.partition(":")
        folder = place.expanduser() / name
        versions = sorted(
            path.parent.name
            for path in folder.glob("*/dataset_info.json")
            if fnmatch.fnmatch(path.parent.name, pattern or "*")
        )
        if versions:
            note = f"{name} {versions[-1]} in {place}"
            yield Finding(suite.name, entry.name, PRESENT, note)
            continue
        how = f"tfds build '{entry.dataset}' --data_dir {place}"
        state, how = BY_HAND.get(name.partition("/")[0], (DOWNLOADABLE, how))
        yield Finding(suite.name, entry.name, state, f"{name}: {how}")
