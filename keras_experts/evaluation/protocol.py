"""What an evaluation runs of each task and module (section 6.3)."""

import dataclasses

from keras_experts.evaluation.sweeps import EACH
from keras_experts.evaluation.sweeps import HYPERRULE
from keras_experts.evaluation.sweeps import SWEEPS
from keras_experts.evaluation.sweeps import SWEPT
from keras_experts.training import schedules


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is run of each task.

    Attributes:
        sweep: str. A name of `SWEEPS`.
        repeats: int. Choices of hyperparameters.
        runs: int. Trainings with each choice.
        num_images: int. Images of length 1, or None for the BiT-HyperRule's.
        batch_size: int. Images a step.
        base_learning_rate: float. Rate at batch size 512 of sweeps that do
            not choose one, or None for the BiT-HyperRule's.
        swept: str. Of which modules hyperparameters are chosen: "each" as in
            the paper, or "baseline", whose choice is taken for all.
    """

    sweep: str = HYPERRULE
    repeats: int = 10
    runs: int = 3
    num_images: int | None = None
    batch_size: int = schedules.BATCH_SIZE
    base_learning_rate: float | None = None
    swept: str = EACH

    def __post_init__(self):
        if self.sweep not in SWEEPS:
            raise ValueError(
                f"`sweep` must be one of {', '.join(SWEEPS)}. "
                f"Received: {self.sweep!r}."
            )
        if self.swept not in SWEPT:
            raise ValueError(
                f"`swept` must be one of {', '.join(SWEPT)}. "
                f"Received: {self.swept!r}."
            )
        if self.swept != EACH and self.sweep == HYPERRULE:
            raise ValueError(
                f"`swept` must be {EACH!r} with the sweep {HYPERRULE!r}, which "
                f"has nothing to choose. Received: {self.swept!r}."
            )
        if self.repeats < 1 or self.runs < 1:
            raise ValueError(
                "`repeats` and `runs` must be at least 1. "
                f"Received: {self.repeats} and {self.runs}."
            )
        if self.base_learning_rate is not None and self.sweep != HYPERRULE:
            raise ValueError(
                f"`base_learning_rate` must be of the sweep {HYPERRULE!r}; "
                f"others choose theirs. Received: {self.sweep!r}."
            )

    @property
    def times(self) -> int:
        """Trainings of a module on all of a task's images."""
        return self.repeats * self.runs

    def recipes(self, num_train: int, seed: int) -> list[dict]:
        """Gives the hyperparameters to choose from."""
        unit = self.num_images or schedules.bit_num_images(num_train)
        fixed: dict = {"batch_size": self.batch_size}
        if self.base_learning_rate is not None:
            fixed["base_learning_rate"] = self.base_learning_rate
        return [
            {**fixed, **recipe} for recipe in SWEEPS[self.sweep](unit, seed)
        ]
