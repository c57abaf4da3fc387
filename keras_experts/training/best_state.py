"""The best of a run's states, by images that are held out of its training."""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.checks import first_line
from keras_experts.console import say
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.tasks import Task

EVALUATIONS_FILE, WEIGHTS_FILE = "evaluations.json", "best.npz"


@dataclasses.dataclass(frozen=True)
class Validation:
    """How states are compared.

    Attributes:
        share: float. Fraction of the training images that is held out where
            the task has no validation split; 0 for no validation: then the
            last state is the result.
        evaluations: int. Looks at them, at equal distances of steps.
        patience: int. Looks without a better one after which training stops,
            or None to train to the end.
    """

    share: float = 0.0
    evaluations: int = 10
    patience: int | None = None

    def __post_init__(self):
        if not 0 <= self.share < 1:
            raise ValueError(
                "The share of images to validate on must be in [0, 1). "
                f"Received: {self.share}."
            )
        patience = 1 if self.patience is None else self.patience
        check_at_least(
            evaluations=(self.evaluations, 1), patience=(patience, 1)
        )
        if self.patience is not None and not self.share:
            raise ValueError(
                "Stopping early needs images to validate on: a share above 0. "
                f"Received: patience={self.patience}, share=0."
            )

    def hold_out(self, task: Task) -> tuple[Task, LabeledImages | None]:
        """Returns a task without the examples to validate on, and these.

        They are the task's validation split, or the last of its training
        examples.

        Raises:
            ValueError: if none would be left on one side.
        """
        if not self.share:
            return task, None
        if task.validation is not None:
            say(
                f"{task.name}: the best state is chosen on the "
                f"{task.validation.num_examples} {task.medium} of its "
                "validation split"
            )
            return task, task.validation
        number = task.train.num_examples
        kept = number - round(self.share * number)
        if not 0 < kept < number:
            raise ValueError(
                "Training and validation must have images each. Received: "
                f"{number} images, a share of {self.share}."
            )
        places = np.arange(number)
        train = task.train.subset(places[:kept])
        held_out = task.train.subset(places[kept:])
        return dataclasses.replace(task, train=train), held_out

    def steps(self, num_steps: int) -> list[int]:
        """Gives the steps after which to look, the last one among them."""
        number = min(self.evaluations, num_steps)
        return [num_steps * look // number for look in range(1, number + 1)]


class BestState:
    """Looks at states, and keeps the best one through kills.

    Args:
        validation: Validation.
        accuracy: function without arguments to the accuracy of the network
            as it is, on the images held out.
        model: keras.Model.
        folder: where it is kept.

    Attributes:
        looks: list of dict of `step` and `accuracy`.
    """

    def __init__(
        self,
        validation: Validation,
        accuracy: Callable[[], float],
        model,
        folder: Path,
    ):
        self.validation = validation
        self._accuracy = accuracy
        self._model = model
        self._folder = folder
        self.looks: list[dict] = []
        if (folder / EVALUATIONS_FILE).exists():
            self.looks = files.read_json(folder / EVALUATIONS_FILE)

    @property
    def best(self) -> dict:
        """The look of highest accuracy; of equals the first."""
        return max(self.looks, key=lambda look: look["accuracy"])

    def look(self, step: int) -> bool:
        """Evaluates after a step, and tells whether to stop."""
        if all(look["step"] != step for look in self.looks):
            self.looks.append({"step": step, "accuracy": self._accuracy()})
            if self.best is self.looks[-1]:
                with files.whole_file(self._folder / WEIGHTS_FILE) as path:
                    np.savez(path, *self._model.get_weights())
            files.write_json(self._folder / EVALUATIONS_FILE, self.looks)
        looked = [look for look in self.looks if look["step"] <= step]
        best = looked.index(max(looked, key=lambda look: look["accuracy"]))
        patience = self.validation.patience
        stop = patience is not None and len(looked) - 1 - best >= patience
        if stop:
            say(
                f"Stopped after step {step:,}: no better on the images held "
                f"out since step {looked[best]['step']:,}."
            )
        return stop

    def restore(self) -> None:
        """Sets the network's weights to those of its best state.

        Raises:
            ValueError: if the file of the weights cannot be read.
        """
        path = self._folder / WEIGHTS_FILE
        try:
            with open(path, "rb") as file, np.load(file) as arrays:
                weights = [arrays[name] for name in arrays.files]
        except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"The best weights in {path} cannot be read "
                f"({first_line(error)}). Remove {self._folder} to train again."
            ) from error
        self._model.set_weights(weights)
