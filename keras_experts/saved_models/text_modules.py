"""Text modules: an encoder and its preprocessor, from texts to features.

An encoder of ours names its preprocessor, a module of the same collection.
Others are named together, ENCODER@PREPROCESSOR. Encoders that take strings
need none.
"""

from pathlib import Path

import tensorflow as tf

from keras_experts.checks import first_line
from keras_experts.mediums import DEFAULT
from keras_experts.mediums import IMAGES
from keras_experts.mediums import PACKED
from keras_experts.mediums import POOLED
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles
from keras_experts.saved_models import inspection
from keras_experts.saved_models import naming
from keras_experts.saved_models import references
from keras_experts.saved_models.loading import default_signature
from keras_experts.saved_models.loading import input_specs
from keras_experts.saved_models.loading import load_module

# What a text module takes: strings, or what a preprocessor makes of them.
STRINGS, TOKENS = "strings", "tokens"
STRING_TENSOR = "string "  # how inspection writes one
NAMING_RULE = (
    "An encoder of texts must be named with its preprocessor, "
    "ENCODER@PREPROCESSOR."
)
FITTING_RULE = "An encoder and its preprocessor must fit each other."


def takes(path: Path) -> str:
    """Returns what a SavedModel takes: what takes no text takes images.

    Args:
        path: its folder.

    Returns:
        str. "images", "strings" or "tokens".

    Raises:
        ValueError: if it is no SavedModel, or tells wrong things of itself.
    """
    metadata = handles.read_metadata(str(path))
    if "backbone" in metadata:
        return TOKENS if medium_of(metadata) == TEXTS else IMAGES
    told = inspection.inspect(path)
    inputs = list(told.call.get("inputs", ()))
    name = None if inputs else default_signature(told.signatures)
    if name is not None:
        signature = told.signatures[name]
        inputs += [f"{v} {k}" for k, v in signature["inputs"].items()]
    if any(PACKED[0] in what for what in inputs):
        return TOKENS
    is_text = any(what.startswith(STRING_TENSOR) for what in inputs)
    return STRINGS if is_text else IMAGES


def check_medium(handle: str, taken: str, medium: str) -> None:
    """Raises unless a module takes what a task is of.

    Args:
        handle: str. What errors call the module.
        taken: str. Of `takes`.
        medium: str. The task's, "images" or "texts".
    """
    own = IMAGES if taken == IMAGES else TEXTS
    if own != medium:
        raise ValueError(
            "A module must take what the task is of. "
            f"Received: {handle}, which takes {own}, for a task of {medium}."
        )


def medium_of(metadata: dict) -> str:
    """Returns the modality of a module of ours, by its metadata."""
    return metadata.get("medium", IMAGES)


def preprocessor_for(handle: str, taken: str) -> str | None:
    """Returns the handle of a module's preprocessor; None if it needs none.

    Args:
        handle: str. As in `preprocessor_of`, or a module of strings or images.
        taken: str. What it takes, of `takes`.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if an encoder has no preprocessor, or another module has.
    """
    if taken == TOKENS:
        return preprocessor_of(handle)
    module, given = references.split_preprocessor(handle)
    if given is not None:
        raise ValueError(
            "Only an encoder that takes tokens has a preprocessor. "
            f"Received: {handle}; {module} takes {taken}."
        )
    return None


def preprocessor_of(handle: str) -> str:
    """Returns the handle of an encoder's preprocessor.

    Args:
        handle: str. `ENCODER@PREPROCESSOR`, or an encoder of ours in its
            collection: a folder or a URL.

    Raises:
        FileNotFoundError: if there is no such encoder.
        ValueError: if it tells of none.
    """
    module, given = references.split_preprocessor(handle)
    if given is not None:
        return given
    metadata = handles.read_metadata(module)
    if not {"preprocessor", "handle"} <= metadata.keys():
        raise ValueError(f"{NAMING_RULE} Received: {handle}.")
    own = metadata["handle"]
    naming.split_handle(metadata["preprocessor"])  # leads nowhere else
    place = module.rstrip("/")
    if "://" not in place:
        place = Path(place).resolve().as_posix()
    for ending in (own, own.rpartition("/")[0]):
        if place.endswith(f"/{ending}"):
            return place.removesuffix(ending) + metadata["preprocessor"]
    raise ValueError(
        f"{NAMING_RULE} Received: {handle}, outside of the collection that "
        f"holds {metadata['preprocessor']}."
    )


def check_fit(encoder: str, preprocessor: str) -> None:
    """Raises if the metadata of two modules does not fit.

    Args:
        encoder: str. Handle; one of ours tells its vocabulary.
        preprocessor: str. Handle.

    Raises:
        FileNotFoundError: if one is not there.
        ValueError: if they have other vocabularies, or the preprocessor makes
            longer texts than the encoder takes.
    """
    own, other = map(handles.read_metadata, (encoder, preprocessor))
    digest = own.get("vocabulary_sha256")
    if digest is not None and digest != other.get("vocabulary_sha256"):
        raise ValueError(
            f"{FITTING_RULE} Received: {encoder} and {preprocessor}, of "
            "another vocabulary."
        )
    longest = own.get("backbone", {}).get("max_length")
    length = other.get("seq_length")
    if longest is not None and length is not None and length > longest:
        raise ValueError(
            f"{FITTING_RULE} Received: {encoder}, of at most {longest} "
            f"tokens, and {preprocessor}, of {length}."
        )


class TextModule:
    """A loaded encoder with its preprocessor: a function of texts.

    Args:
        handle: str. As in `preprocessor_of`, or a module that takes strings.
        trust: bool. As in `load_module`.

    Raises:
        FileNotFoundError: if a module is not there.
        PermissionError: if one must be trusted and is not.
        ValueError: if one does not load, or they do not fit each other.
    """

    def __init__(self, handle: str, trust: bool = False):
        self.handle = handle
        encoder, _ = references.split_preprocessor(handle)
        taken = takes(handles.resolve(encoder))
        self.preprocessor = preprocessor_for(handle, taken)
        if self.preprocessor is not None:
            check_fit(encoder, self.preprocessor)
            self._preprocess = load_module(self.preprocessor, trust)
        self._encode = load_module(encoder, trust)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns features `(batch, channels)` of strings `(batch,)`.

        Raises:
            ValueError: if the preprocessor does not give what the encoder
                takes, or that gives no features of texts.
        """
        if self.preprocessor is None:
            return pooled(self._encode(texts), self.handle)
        packed = self._preprocess(texts)
        check_packed(packed, self.preprocessor)
        try:
            outputs = self._encode(packed)
        except Exception as error:
            raise ValueError(
                f"{FITTING_RULE} Received: {self.handle} with "
                f"{self.preprocessor}, which gives {_described(packed)}; "
                f"it takes {_described_specs(self._encode)} "
                f"({first_line(error)})."
            ) from error
        return pooled(outputs, self.handle)


def pooled(outputs, handle: str) -> tf.Tensor:
    """Returns the features of whole texts among an encoder's outputs.

    Raises:
        ValueError: if it gives a dict without `default` and `pooled_output`.
    """
    if not isinstance(outputs, dict):
        return outputs
    for key in (DEFAULT, POOLED):
        if key in outputs:
            return outputs[key]
    raise ValueError(
        f"An encoder of texts must give `{DEFAULT}` or `{POOLED}`. "
        f"Received: {handle}, which gives {sorted(outputs)}."
    )


def check_packed(packed: object, preprocessor: str) -> None:
    """Raises unless a preprocessor gave what the common API says.

    Raises:
        ValueError: if it is no dict, or one of the three is not in it.
    """
    if not isinstance(packed, dict) or not set(PACKED) <= packed.keys():
        given = type(packed).__name__
        if isinstance(packed, dict):
            given = _described(packed)
        raise ValueError(
            f"A preprocessor must give {', '.join(PACKED)}. "
            f"Received: {preprocessor}, which gives {given}."
        )


def _described(packed: dict) -> str:
    parts = [f"{key} {packed[key].dtype.name}" for key in sorted(packed)]
    return f"{{{', '.join(parts)}}}"


def _described_specs(function) -> str:
    specs = input_specs(function.__call__)
    if specs and isinstance(specs[0], dict):
        return _described(specs[0])
    return str(specs[:1])
