"""Selection and transfer in one scikit-learn classifier."""

import dataclasses
import os
import tempfile
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from keras_experts import files
from keras_experts.checks import as_list
from keras_experts.checks import first_line
from keras_experts.console import say
from keras_experts.data import texts
from keras_experts.data.image_files import read_image
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import encoded
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.labels import check_labels
from keras_experts.data.listing import ENDINGS
from keras_experts.data.tasks import Task
from keras_experts.evaluation.prediction import classify_texts
from keras_experts.evaluation.prediction import load_classifier
from keras_experts.evaluation.prediction import make_predictor
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS
from keras_experts.random_state import callers_random_state
from keras_experts.saved_models import handles
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import expand
from keras_experts.selection.modules import prediction_networks
from keras_experts.selection.selector import select
from keras_experts.training.finetuning import finetune


class ExpertClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that picks the best module of a pool and fine-tunes it.

    A fitted classifier holds everything that it needs to predict: it can be
    pickled, dumped with joblib, copied, and written with `save`.

    Args:
        modules: as the experts of `select`: one module, or several.
        strategy: as in `select`.
        num_images: int. As in `finetune`, or None to choose it for the module
            and the images; so are the next two.
        batch_size: int.
        base_learning_rate: float, or several.
        groups: as in `finetune`.
        image_size: int. Side of the images that third-party modules take, in
            pixels, or None for what the pool or the module says.
        input_range: two floats. Values of black and white that third-party
            modules take, or None for what the pool says.
        validation: float. As in `finetune`.
        seed: int. Seed of the order of the training images.
        trust: bool. As in `select`.

    Attributes:
        classes_: array of the different labels, sorted.
        selection_: Selection.

    References:
        Section 5 of the paper.
    """

    def __init__(
        self,
        modules: Sequence = (),
        strategy="knn",
        num_images: int | None = None,
        batch_size: int | None = None,
        base_learning_rate: float | Sequence[float] | None = None,
        groups: Sequence[str] = (),
        image_size: int | None = None,
        input_range: tuple[float, float] | None = None,
        validation: float = 0.0,
        seed: int = 0,
        trust: bool = False,
    ):
        self.modules = modules
        self.strategy = strategy
        self.num_images = num_images
        self.batch_size = batch_size
        self.base_learning_rate = base_learning_rate
        self.groups = groups
        self.image_size = image_size
        self.input_range = input_range
        self.validation = validation
        self.seed = seed
        self.trust = trust

    @callers_random_state()
    def fit(self, X, y) -> "ExpertClassifier":
        """Selects a module and fine-tunes it.

        Args:
            X: uint8 images `(n, height, width[, 1 or 3])`, or a list of n
                images of different sizes, paths of n image files, or n texts
                (a list, an array or a Series of strings).
            y: labels `(n,)` or `(n, 1)`, whole numbers or texts, of at least
                two classes.

        Raises:
            ValueError: if images and labels do not fit, a file is not an
                image, or no module works.
        """
        classes, labels = np.unique(check_labels(y, "`y`"), return_inverse=True)
        names = [str(label) for label in classes]
        examples = _to_examples(X, labels, names)
        if examples.medium == TEXTS:
            (examples,) = texts.without_faulty("X", [examples])
        # Callers sort by class; what is held out must be of all classes.
        rng = np.random.default_rng(self.seed)
        examples = examples.subset(rng.permutation(examples.num_examples))
        task = Task(examples.medium, examples, examples.take(0))
        pool = self._pool()
        selection = select(
            task,
            pool,
            self.strategy,
            num_examples=examples.num_examples,
            trust=self.trust,
        )
        best = next(
            candidate
            for candidate in expand(pool)
            if candidate.handle == selection.best.module
        )
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "finetuned"
            finetune(
                best.function or best.handle,
                task,
                output,
                num_images=self.num_images,
                batch_size=self.batch_size,
                base_learning_rate=self.base_learning_rate,
                groups=self.groups,
                image_size=best.image_size,
                input_range=best.input_range,
                validation=self.validation,
                seed=self.seed,
                trust=self.trust,
            )
            written = [path for path in output.rglob("*") if path.is_file()]
            self._files = {
                path.relative_to(output).as_posix(): path.read_bytes()
                for path in written
            }
        self.classes_, self.selection_ = classes, selection
        self._medium = examples.medium
        self._predictor = None
        return self

    def _pool(self) -> Sequence:
        """Returns the modules with the size and the range that were asked."""
        asked = {"image_size": self.image_size, "input_range": self.input_range}
        asked = {name: value for name, value in asked.items() if value}
        if not asked:
            return self.modules
        candidates = [
            each if _is_ours(each) else dataclasses.replace(each, **asked)
            for each in expand(self.modules)
        ]
        return [*candidates, *prediction_networks(self.modules)]

    @callers_random_state()
    def predict_proba(self, X) -> np.ndarray:
        """Returns probabilities `(n, classes)`, in the order of `classes_`.

        The row of an image file that cannot be read is NaN; a message names
        the file.

        Args:
            X: as in `fit`, or one path or text.

        Raises:
            ValueError: if no file can be read, or `X` is not of the kind that
                `fit` was given.
        """
        check_is_fitted(self)
        X = as_list(X) if isinstance(X, str | Path) else X
        if self._medium == IMAGES and _are_paths(X):
            readable, X = _read_images(X)
            probabilities = np.full((len(readable), len(self.classes_)), np.nan)
            probabilities[readable] = self._probabilities(X)
            return probabilities
        return self._probabilities(X)

    def _probabilities(self, X) -> np.ndarray:
        labels = np.zeros(len(X), np.int64)
        names = [str(label) for label in self.classes_]
        examples = _to_examples(X, labels, names, self._medium)
        if examples.medium != self._medium:
            raise ValueError(
                f"`X` must be {self._medium}, as in `fit`. "
                f"Received: {examples.medium}."
            )
        if self._predictor is None:
            self._predictor = self._load()
        return self._predictor(examples)

    def predict(self, X) -> np.ndarray:
        """Returns the most probable labels `(n,)`, given `X` as in `fit`.

        The label of an image file that cannot be read is None.
        """
        probabilities = self.predict_proba(X)
        labels = self.classes_[probabilities.argmax(axis=1)]
        unreadable = np.isnan(probabilities[:, 0])
        if unreadable.any():
            labels = np.where(unreadable, None, labels)
        return labels

    def save(self, path: str | Path) -> None:
        """Writes the fitted classifier as `finetune` writes its result.

        `keras-experts predict --model PATH` and `keras.saving.load_model`
        (of `model.keras`) read it.

        Args:
            path: folder to make; must be new or empty.

        Raises:
            FileExistsError: if the folder holds something.
        """
        check_is_fitted(self)
        with files.whole_folder(path) as directory:
            self._write(directory)

    def _write(self, directory: Path) -> None:
        for name, content in self._files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)

    def _load(self) -> Callable[[LabeledImages], np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            self._write(Path(folder))
            module, metadata = load_classifier(folder, self.trust)
        if self._medium == IMAGES:
            return make_predictor(module, metadata["image_size"])
        return lambda examples: classify_texts(
            module, examples.read(np.arange(examples.num_examples))
        )

    def __getstate__(self) -> dict:
        # TensorFlow's functions cannot be pickled; the files can.
        return {**super().__getstate__(), "_predictor": None}


def _to_examples(
    X,
    labels: np.ndarray,
    class_names: list[str],
    medium: str | None = None,
) -> LabeledImages:
    """Returns examples in one of the forms that `fit` takes, as a set.

    Args:
        X: as in `fit`.
        labels: int array `(n,)`.
        class_names: list of str.
        medium: str. "images" or "texts", or None to decide by the first one.
    """
    if hasattr(X, "to_numpy"):  # pandas; as a list, a frame is its columns
        X = X.to_numpy()
    X = X if isinstance(X, np.ndarray) else as_list(X)
    if isinstance(X, np.ndarray) and X.dtype.kind in "OU" and X.ndim == 2:
        X = X.ravel() if X.shape[1] == 1 else X
    if isinstance(X, list) and len({np.shape(image) for image in X}) > 1:
        X = [_encode(image) for image in X]  # they have different sizes
    if not len(X) or not isinstance(X[0], str | Path | bytes):
        return from_arrays(np.asarray(X), labels, class_names)
    if len(X) != len(labels):
        raise ValueError(
            "`X` and `y` must have the same length. "
            f"Received: {len(X)} files or texts, {len(labels)} labels."
        )
    if isinstance(X[0], bytes):
        return from_contents(X, labels, class_names)
    if medium == IMAGES or (medium is None and _is_image_file(X[0])):
        contents = [read_image(Path(path)) for path in X]
        return from_contents(contents, labels, class_names)
    return texts.from_strings(X, labels, class_names)


def _encode(image: np.ndarray) -> bytes:
    """Returns an image `(height, width[, 1 or 3])` as a PNG file."""
    one = from_arrays(np.asarray(image)[None], np.zeros(1, np.int64), [""])
    return encoded(one.read(np.arange(1))[0])


def _is_ours(candidate: Candidate) -> bool:
    """Returns whether a module is one of ours, which says what it takes."""
    if candidate.function is not None:
        return False
    try:
        return "backbone" in handles.read_metadata(candidate.handle)
    except (OSError, ValueError):
        return False  # it is skipped when it is loaded


def _are_paths(X) -> bool:
    return len(X) > 0 and isinstance(list(X)[0], str | Path)


def _read_images(paths) -> tuple[np.ndarray, list[bytes]]:
    """Reads the image files that can be read, and names the others.

    Returns:
        Bool array `(n,)` of the files that were read, and their contents.

    Raises:
        ValueError: if none can be read.
    """
    contents, readable = [], np.zeros(len(paths), bool)
    for index, path in enumerate(paths):
        try:
            contents.append(read_image(Path(path)))
            readable[index] = True
        except (OSError, ValueError) as error:
            say(f"Skipped {path}: {first_line(error)}")
    if not contents:
        raise ValueError(
            "At least one image file must be readable. "
            f"Received: {len(paths)} that are not."
        )
    return readable, contents


def _is_image_file(value: str | Path) -> bool:
    """Returns whether a string is the path of a file, not a text."""
    has_ending = Path(value).suffix.lower() in ENDINGS
    return isinstance(value, Path) or has_ending or os.path.isfile(value)
