"""From what a user names to the folder of a SavedModel and its metadata.

Modules and collections come from anybody: what they tell of themselves is
checked here, once, before anything relies on it.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from keras_experts import files
from keras_experts.checks import first_line
from keras_experts.config import find_shared
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import keras_files
from keras_experts.saved_models.naming import EXPERT_PATTERN
from keras_experts.saved_models.naming import check_name
from keras_experts.saved_models.naming import split_handle
from keras_experts.saved_models.references import BUILTIN
from keras_experts.saved_models.references import is_url
from keras_experts.saved_models.references import split

# Outside `assets/`: TensorFlow ignores it, and hub archives may hold it.
METADATA_FILE = Path("assets.extra") / "keras_experts.json"
SAMPLES_FILE = METADATA_FILE.with_name("samples.jpg")
COLLECTION_FILE = "collection.json"
BASELINE = "baseline"  # kind and name of a collection's baseline
BANK = "bank"  # kind and name of a module of many experts
EPN = "epn"  # kind and name of an expert prediction network
PREPROCESSOR = "preprocessor"  # kind and name of what tokenises texts
ADAPTER, FULL = "adapter", "full"  # kinds of experts
DEFAULT_IMAGE_SIZE = 224

DIGEST_PATTERN = re.compile(r"[\da-f]{64}")

# Folders that hold modules, and what to say of them.
INSIDE = {
    COLLECTION_FILE: "A module must be one of a collection's. "
    "Received: {0!r}, a collection (`select` takes it whole).",
    "module/saved_model.pb": "A module must be a folder with a saved_model.pb. "
    "Received: {0!r}, what `finetune` wrote: its module is {0}/module.",
}

SHARE = float | int | None
EXPERT_FIELDS = {
    "name": str,
    "num_images": int,
    "top1": SHARE,
    "top1_baseline": SHARE,
}
EPN_EXPERT_FIELDS = {"name": str, "synset": str | None}
MODULE_FIELDS = {
    **EXPERT_FIELDS,
    "kind": str,
    "domain": str | None,
    "synset": str | None,
    "parents": list,
    "dataset": str,
    "num_classes": int,
    "num_steps": int,
    "batch_size": int,
    "num_features": int,
    "parameters": int,
    "fine_tunable": bool,
}
# What a row of collection.json has besides.
ROW_FIELDS = {
    "handle": str,
    "path": str,
    "archive": str,
    "depth": int,
    "num_bytes": int,
    "sha256": str,
    "experts": list,
    "publication": dict,
}
# Not all modules tell these, but all code that asks expects the types.
METADATA_FIELDS = {
    **MODULE_FIELDS,
    "image_size": int,
    "experts": list,
    "backbone": dict,
    "loss": str,
    "label_names": dict,
    "medium": str,
    "preprocessor": str,
    "seq_length": int,
    "vocabulary_sha256": str,
}


def is_saved_model(path: str | Path) -> bool:
    """Tells whether a folder holds a SavedModel."""
    return (Path(path) / "saved_model.pb").exists()


def place(module: str) -> Path:
    """Returns the folder in which a module that is no URL should lie."""
    path = Path(module).expanduser()
    if module == BUILTIN and not path.exists():
        return find_shared("export/builtin", "export_builtin")
    return path


def resolve(handle: str) -> Path:
    """Returns the local folder of a module, which is downloaded if need be.

    Args:
        handle: str. Module reference: a path of a SavedModel, a TensorFlow
            Hub handle (URL), or "builtin". Its expert and its preprocessor
            are ignored.

    Raises:
        FileNotFoundError: if there is no such SavedModel.
        ValueError: if what was downloaded is no safe archive.
    """
    module, _ = split(handle)
    if is_url(module):
        from keras_experts.saved_models import download

        try:
            return download.fetch(module)
        except ValueError:
            raise
        except Exception as error:
            raise FileNotFoundError(
                "A handle must lead to a module that can be downloaded. "
                f"Received: {module} ({first_line(error)})."
            ) from error
    path = place(module)
    inside = [p for p in INSIDE if (path / p).exists()]
    if inside and not is_saved_model(path):
        raise FileNotFoundError(INSIDE[inside[0]].format(module))
    if not is_saved_model(path):
        raise FileNotFoundError(
            "A module must be a folder with a saved_model.pb, or a URL. "
            f"Received: {module!r}."
        )
    return path


def weights_digest(handle: str) -> str:
    """Returns a digest of a module's weights, hexadecimal.

    The index of a SavedModel's variables holds the checksum of each; a Keras
    file is read whole.
    """
    if keras_files.is_keras_file(handle):
        return files.checksum(handle)
    index = resolve(handle) / "variables" / "variables.index"
    return files.checksum(index) if index.exists() else ""


def check_expert(metadata: dict, expert: str | None, handle: str) -> None:
    """Raises unless a bank has an expert, or a baseline, of a name.

    Raises:
        ValueError: if it has none; it tells of similar names.
    """
    names = [BASELINE, *(row["name"] for row in metadata["experts"])]
    if expert in names:
        return
    near = difflib.get_close_matches(expert or "", names) or names[:10]
    raise ValueError(
        f"An expert of a bank must be named, BANK#name, one of its "
        f"{len(names)}, such as {', '.join(near)}. "
        f"Received: {expert or 'no name'} of {split(handle)[0]}."
    )


def read_metadata(handle: str) -> dict:
    """Reads what the exporter wrote about a module.

    A Keras file has its name and its image size; a third-party SavedModel has
    none: {}.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if the metadata has another format.
    """
    if keras_files.is_keras_file(handle):
        return keras_files.read_metadata(handle)
    path = resolve(handle) / METADATA_FILE
    if not path.exists():
        return {}
    content = files.read_json(path)
    what = "A module's metadata"
    _check_fields(content, {}, what, path)
    told = {k: kind for k, kind in METADATA_FIELDS.items() if k in content}
    if "backbone" in content:
        told["kind"] = str
    if content.get("kind") in (BANK, EPN):
        told["experts"] = list
    _check_fields(content, told, what, path)
    for expert in content.get("experts", ()):
        _check_fields(expert, {"name": str}, "An expert of a module", path)
    return content


def image_size(handle: str) -> int:
    """Gives the side of a module's images, pixels; 224 for anybody's."""
    return read_metadata(handle).get("image_size", DEFAULT_IMAGE_SIZE)


def read_rows(collection: str | Path) -> list[dict]:
    """Reads the rows of a collection's `collection.json`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it has another format, or leads out of the collection.
    """
    path = Path(collection) / COLLECTION_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"A collection must have a {COLLECTION_FILE}. "
            f"Received: {collection}, which has none."
        )
    content = files.read_json(path)
    _check_fields(content, {"modules": list}, "A collection", path)
    for row in content["modules"]:
        what = "A row of a collection"
        _check_fields(row, ROW_FIELDS, what, path)
        check_module(row, path)
        handle = row["handle"]
        parts = split_handle(handle)
        for key, is_valid in (
            ("name", parts[1].rpartition("/")[2] == row["name"]),
            ("path", row["path"] == handle),
            ("archive", row["archive"] == f"{handle}.tar.gz"),
            ("sha256", DIGEST_PATTERN.fullmatch(row["sha256"])),
            ("publication", isinstance(row["publication"].get("license"), str)),
        ):
            _check_field(is_valid, row, key, what, path)
    return content["modules"]


def latest_rows(rows: Iterable[dict]) -> list[dict]:
    """Keeps of each name the row of its highest version, in their order."""
    latest: dict[tuple[str, str], dict] = {}
    for row in rows:
        *name, version = split_handle(row["handle"])
        known = latest.setdefault(tuple(name), row)
        if version > split_handle(known["handle"])[2]:
            latest[tuple(name)] = row
    return list(latest.values())


def check_module(content: dict, source: str | Path) -> None:
    """Raises unless a module tells of itself what its card and page show.

    Args:
        content: dict. Its metadata, or its row of `collection.json`.
        source: what errors call where that is from.

    Raises:
        ValueError: if a field is missing, or has another type.
    """
    what = "A module of a collection"
    _check_fields(content, MODULE_FIELDS, what, source)
    kind, domain = content["kind"], content["domain"]
    are_names = all(isinstance(name, str) for name in content["parents"])
    is_expert = kind in (ADAPTER, FULL)
    is_kind = is_expert or kind in (BASELINE, BANK, EPN, PREPROCESSOR)
    size = "seq_length" if content.get("medium") == TEXTS else "image_size"
    _check_fields(content, {size: int}, what, source)
    _check_field(is_kind, content, "kind", what, source)
    _check_field(are_names, content, "parents", what, source)
    _check_field(not is_expert or domain, content, "domain", what, source)
    fields = EPN_EXPERT_FIELDS if kind == EPN else EXPERT_FIELDS
    for expert in content.get("experts", ()):
        _check_fields(expert, fields, "An expert of a module", source)
        check_name("name", expert["name"], EXPERT_PATTERN)


def _check_fields(
    content: object, fields: dict, what: str, source: str | Path
) -> None:
    if not isinstance(content, dict):
        raise ValueError(
            f"{what} must be a JSON object. "
            f"Received: {type(content).__name__} in {source}."
        )
    for key, kind in fields.items():
        is_valid = key in content and isinstance(content[key], kind)
        _check_field(is_valid, content, key, what, source)


def _check_field(
    is_valid: object, content: dict, key: str, what: str, source: str | Path
) -> None:
    if not is_valid:
        raise ValueError(
            f"{what} must have a valid `{key}`. "
            f"Received: {content.get(key)!r} in {source}."
        )
