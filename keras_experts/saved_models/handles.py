"""From what a user names to the folder of a SavedModel and its metadata."""

from pathlib import Path

from keras_experts import files
from keras_experts.checks import first_line

# Outside `assets/`: TensorFlow ignores it, and hub archives may hold it.
METADATA_FILE = Path("assets.extra") / "keras_experts.json"
SAMPLES_FILE = METADATA_FILE.with_name("samples.jpg")
COLLECTION_FILE = "collection.json"
BASELINE = "baseline"  # kind and name of a collection's baseline
BANK = "bank"  # kind and name of a module of many experts
DEFAULT_IMAGE_SIZE = 224


def split(handle: str) -> tuple[str, str | None]:
    """Splits `MODULE#part` into the module and the part of it, or None."""
    if Path(handle).exists():
        return handle, None
    module, mark, part = handle.rpartition("#")
    return (module, part) if mark else (handle, None)


def is_saved_model(path: str | Path) -> bool:
    """Tells whether a folder holds a SavedModel."""
    return (Path(path) / "saved_model.pb").exists()


def resolve(handle: str) -> Path:
    """Gives the local folder of a module, downloading it if need be.

    Args:
        handle: str. Path of a SavedModel, or a TensorFlow Hub handle (URL);
            what follows a "#" is left out.

    Raises:
        FileNotFoundError: if there is no such SavedModel.
        ValueError: if what was downloaded is no safe archive.
    """
    module, _ = split(handle)
    if "://" in module:
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
    if not is_saved_model(module):
        raise FileNotFoundError(
            "A module must be a folder with a saved_model.pb, or a URL. "
            f"Received: {module!r}."
        )
    return Path(module)


def read_metadata(handle: str) -> dict:
    """Reads what the exporter wrote about a module; {} for anybody's."""
    path = resolve(handle) / METADATA_FILE
    return files.read_json(path) if path.exists() else {}


def image_size(handle: str) -> int:
    """Gives the side of a module's images, pixels; 224 for anybody's."""
    return read_metadata(handle).get("image_size", DEFAULT_IMAGE_SIZE)
