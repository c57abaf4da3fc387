"""How examples become what a network takes: images of a size, or tokens."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_experts import config
from keras_experts.checks import check_at_least
from keras_experts.checks import difference
from keras_experts.console import say
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import resize
from keras_experts.data.tokens import Packer
from keras_experts.data.tokens import Strings
from keras_experts.data.upstream import Upstream
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.saved_models import text_modules
from keras_experts.saved_models.preprocessor import learn_vocabulary
from keras_experts.saved_models.preprocessor import vocabulary_digest
from keras_experts.saved_models.preprocessor import write_preprocessor
from keras_experts.training import stages

PREPROCESSOR_FOLDER = "preprocessor"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """How examples of one kind are read.

    Attributes:
        plain: function of an example to what the network takes.
        arguments: dict. What augmentations want besides an example and a seed.
        facts: dict. What is told of it in metadata.
        network: dict. Arguments of a new network that takes them.
    """

    plain: Callable
    arguments: dict
    facts: dict
    network: dict = dataclasses.field(default_factory=dict)

    def augmented(self, augmentation: Callable) -> Callable:
        """Returns a function of an example and a seed `(2,)`."""
        return functools.partial(augmentation, **self.arguments)


def of_images(image_size: int) -> Inputs:
    """Reads images, scaled to `image_size` pixels square."""
    check_at_least(image_size=(image_size, 1))
    size = {"image_size": image_size}
    return Inputs(functools.partial(resize, **size), size, size)


def of_texts(preprocessor: str | Path, trust: bool = False) -> Inputs:
    """Reads texts, as a preprocessor packs them.

    Args:
        preprocessor: path or URL.
        trust: bool. As in `load_module`.
    """
    pack = Packer(str(preprocessor), trust)
    told = handles.read_metadata(str(preprocessor))
    facts = {
        "medium": TEXTS,
        "seq_length": pack.seq_length,
        "vocabulary_sha256": told.get("vocabulary_sha256"),
    }
    network = {}
    if "vocabulary_size" in told:  # no row of the table is out of reach
        network["vocabulary_size"] = told["vocabulary_size"]
    return Inputs(pack, {"pack": pack}, facts, network)


def of_strings() -> Inputs:
    """Reads texts for a network that takes strings."""
    strings = Strings()
    return Inputs(strings, {"pack": strings}, {"medium": TEXTS})


def for_module(
    module: str | keras.Model, image_size: int | None, trust: bool = False
) -> Inputs:
    """Reads examples as a module takes them.

    Args:
        module: str. Handle; of texts as in `preprocessor_of`. Or a Keras
            model of images.
        image_size: int. Of images, pixels, or None for the module's own.
        trust: bool. As in `load_module`.

    Raises:
        FileNotFoundError: if a module is not there.
        ValueError: if it does not fit its preprocessor.
    """
    if keras_models.is_network(module):
        if keras_models.medium_of(module) == TEXTS:
            return of_strings()
        expected = keras_models.input_of(module)
        size = image_size or (expected and expected.image_size)
        size = size or handles.DEFAULT_IMAGE_SIZE
        keras_models.check_image_size(module, size)
        return of_images(size)
    taken = text_modules.takes(handles.resolve(module))
    if taken == IMAGES:
        size = handles.image_size(module) if image_size is None else image_size
        return of_images(size)
    preprocessor = text_modules.preprocessor_for(module, taken)
    if preprocessor is None:
        return of_strings()
    text_modules.check_fit(module, preprocessor)
    return of_texts(preprocessor, trust)


def for_baseline(
    workdir: Path,
    data: Upstream,
    image_size: int | None,
    preprocessor: Callable | None,
) -> Inputs:
    """Reads upstream examples for a baseline.

    Args:
        workdir: folder of the run; of texts, its `preprocessor/` is made
            where it is not there.
        data: Upstream.
        image_size: int. Of images, or None.
        preprocessor: function that makes one of texts, or None.

    Raises:
        ValueError: if not exactly the one that suits the data is given, or
            the preprocessor is there and was made with other settings.
    """
    is_text = data.train.medium == TEXTS
    if (image_size is None, preprocessor is None) != (is_text, not is_text):
        raise ValueError(
            "Images want an `image_size`, texts a `preprocessor`. Received: "
            f"image_size={image_size} and preprocessor={preprocessor} for "
            f"{data.name}, of {data.train.medium}."
        )
    if not is_text:
        return of_images(image_size)
    folder = workdir / PREPROCESSOR_FOLDER
    settings = {"dataset": data.name, "made": stages.describe(preprocessor)}
    if not handles.is_saved_model(folder):
        preprocessor(data.train, folder, settings)
    made = handles.read_metadata(str(folder)).get("settings")
    different = difference(made or {}, settings)
    if different:
        raise ValueError(
            "A finished result stays as it is; use another --workdir or remove "
            f"it. Received: {folder}, made with {different}."
        )
    return of_texts(folder)


def of_run(workdir: Path, baseline: dict) -> Inputs:
    """Reads examples as the baseline of a run did.

    Args:
        workdir: folder of the run.
        baseline: dict. The baseline's metadata.
    """
    if baseline.get("medium", IMAGES) == TEXTS:
        return of_texts(workdir / PREPROCESSOR_FOLDER)
    return of_images(baseline["image_size"])


@config.register
def word_pieces(
    texts: LabeledImages,
    directory: Path,
    settings: dict,
    vocabulary_size: int,
    seq_length: int,
) -> None:
    """Writes a preprocessor whose vocabulary is learned from texts.

    Args:
        texts: LabeledImages of texts.
        directory: folder to make.
        settings: dict. What to keep of how it was made.
        vocabulary_size: int. Tokens, at most.
        seq_length: int. Tokens of a packed text, at least 3.
    """
    say(f"Learning a vocabulary from {texts.num_examples:,} texts")
    contents = texts.read(np.arange(texts.num_examples))
    vocabulary = learn_vocabulary(contents, vocabulary_size)
    metadata = {
        "name": handles.PREPROCESSOR,
        "num_images": texts.num_examples,
        "settings": settings,
    }
    write_preprocessor(directory, vocabulary, seq_length, metadata)
    say(f"It has {len(vocabulary):,} ({vocabulary_digest(vocabulary)[:12]})")
