"""Selection and transfer in one, as scikit-learn has its classifiers."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from keras_experts.data import folders
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.tasks import Task
from keras_experts.saved_models.keras_models import module_of
from keras_experts.selection.selector import select
from keras_experts.training import schedules
from keras_experts.training.rates import choose_recipe
from keras_experts.training.rates import recipes_of
from keras_experts.training.transfer import Recipe
from keras_experts.training.transfer import Transfer


class ExpertClassifier(ClassifierMixin, BaseEstimator):
    """Picks the best module of a pool for some images, and fine-tunes it.

    Args:
        modules: as the experts of `select`.
        strategy: as in `select`.
        num_images: int. As in `Recipe`, and so is the next.
        batch_size: int.
        base_learning_rate: float, or several. As in `finetune`.
        seed: int. Of the order of images.
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
        batch_size: int = schedules.BATCH_SIZE,
        base_learning_rate=schedules.BASE_LEARNING_RATE,
        seed: int = 0,
        trust: bool = False,
    ):
        self.modules = modules
        self.strategy = strategy
        self.num_images = num_images
        self.batch_size = batch_size
        self.base_learning_rate = base_learning_rate
        self.seed = seed
        self.trust = trust

    def fit(self, X, y) -> "ExpertClassifier":
        """Selects and fine-tunes.

        Args:
            X: uint8 images `(n, height, width[, 1 or 3])`, or paths of n image
                files.
            y: labels `(n,)`, numbers or texts, of at least two classes.

        Raises:
            ValueError: if images and labels do not fit, a file is no image, or
                no module works.
        """
        classes, labels = np.unique(np.asarray(y), return_inverse=True)
        names = [str(label) for label in classes]
        images = _to_images(X, labels, names)
        recipe = Recipe(self.num_images, self.batch_size)
        recipes = recipes_of(self.base_learning_rate, recipe)
        task = Task("the images", images, images.take(0))
        pool = [
            module_of(module) if isinstance(module, keras.Model) else module
            for module in self.modules
        ]
        selection = select(
            task,
            pool,
            self.strategy,
            num_examples=images.num_examples,
            trust=self.trust,
        )
        keras.utils.set_random_seed(self.seed)
        transfer = Transfer(selection.best.module, len(names), trust=self.trust)
        recipe, _ = choose_recipe(
            transfer, images, recipes, self.seed, task.name
        )
        transfer.fit(images, recipe, self.seed, task.name)
        self.classes_, self.selection_ = classes, selection
        self._transfer = transfer
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Gives probabilities `(n, classes)`, in the order of `classes_`."""
        check_is_fitted(self)
        labels = np.zeros(len(X), np.int64)
        images = _to_images(X, labels, [str(c) for c in self.classes_])
        return self._transfer.probabilities(images)

    def predict(self, X) -> np.ndarray:
        """Gives the most probable labels `(n,)`."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]


def _to_images(X, labels: np.ndarray, class_names: list[str]) -> LabeledImages:
    X = X if isinstance(X, np.ndarray) else list(X)  # a Series has an index
    if len(X) and isinstance(X[0], str | Path):
        if len(X) != len(labels):
            raise ValueError(
                "`X` and `y` must have the same length. "
                f"Received: {len(X)} files, {len(labels)} labels."
            )
        contents = [folders.read_image(Path(path)) for path in X]
        return from_contents(contents, labels, class_names)
    return from_arrays(np.asarray(X), labels, class_names)
