"""What is installed, which data are there, and how to get the rest.

Nothing is imported or opened to find out: packages are asked for by their
metadata, data sets by the folder that TFDS makes last.
"""

import dataclasses
import fnmatch
import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from keras_experts import files
from keras_experts.evaluation.suites import SUITES
from keras_experts.evaluation.suites import Suite

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
# Of data sets that TFDS cannot fetch by itself (TFDS 4.9.10).
BY_HAND = {
    "resisc45": "manual: `tfds build resisc45` says what to download",
    "diabetic_retinopathy_detection": "manual: `tfds build` of it says how",
    "sun397": "broken upstream: its address is gone (tensorflow/datasets#4807)",
    "fgvc_aircraft": "not in TFDS: prepare a set of one's own of this name",
}
PRESENT, MISSING = "present", "missing"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        area: str. "package", "extra", "resource", or the name of a suite.
        name: str.
        state: str. "present" or "missing".
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
    cache = files.cache_folder()
    size = sum(p.stat().st_size for p in cache.rglob("*") if p.is_file())
    note = f"{cache}, {size / 2**20:,.0f} MiB; it can be deleted"
    found.append(Finding("resource", "cache", PRESENT, note))
    place = Path(data_dir or _default_folder())
    for suite in SUITES.values():
        found += _datasets(suite, place)
    return found


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


def _datasets(suite: Suite, place: Path) -> Iterable[Finding]:
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
        how = BY_HAND.get(name.partition("/")[0])
        how = how or f"tfds build '{entry.dataset}' --data_dir {place}"
        yield Finding(suite.name, entry.name, MISSING, f"{name}: {how}")
