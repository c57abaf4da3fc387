"""The settings of a fine-tuning."""

import dataclasses

from keras_experts.checks import check_at_least
from keras_experts.models.trainable import check_groups
from keras_experts.training import schedules
from keras_experts.training.sgd import SgdOptions

HEAD_ONLY = ("head",)
MIN_STEPS = 2  # the rule's first one has a rate of zero


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings that a module is fine-tuned with.

    The length, the warm-up, the three divisions of the rate and mixup are
    those of the BiT-HyperRule, stretched over `num_images`.

    Attributes:
        num_images: int. Images to pass, repeats counted, or None for the
            rule's (256,000 for small sets).
        batch_size: int. Images a step, at most half of all; the rate scales
            with it.
        base_learning_rate: float. Rate at batch size 512.
        momentum: float. In [0, 1).
        weight_decay: float. As in `SgdOptions`.
        flip: bool. Whether to mirror half of the images; only where a
            mirrored image keeps its label.
        max_shift: int. Largest random shift, pixels; only where a shifted
            image keeps its label.
        groups: tuple of str. Of `models.trainable.GROUPS`: what is trained
            beside the head; everything if it is empty. `("head",)` trains
            the head on features that are computed once.
    """

    num_images: int | None = None
    batch_size: int = schedules.BATCH_SIZE
    base_learning_rate: float = schedules.BASE_LEARNING_RATE
    momentum: float = 0.9
    weight_decay: float = 0.0
    flip: bool = False
    max_shift: int = 0
    groups: tuple[str, ...] = ()

    def __post_init__(self):
        num_images = MIN_STEPS if self.num_images is None else self.num_images
        check_at_least(
            batch_size=(self.batch_size, 1),
            num_images=(num_images, MIN_STEPS),
            max_shift=(self.max_shift, 0),
            base_learning_rate=(self.base_learning_rate, 0.0),
        )
        check_groups(self.groups)
        if self.is_head_only and (self.flip or self.max_shift):
            raise ValueError(
                "Images are not augmented where the head alone is trained, on "
                "features that are computed once. Received: "
                f"flip={self.flip}, max_shift={self.max_shift}."
            )
        SgdOptions(momentum=self.momentum, weight_decay=self.weight_decay)

    @property
    def is_head_only(self) -> bool:
        """True if only the head is trained."""
        return set(self.groups) == set(HEAD_ONLY)

    def length(self, num_train: int) -> tuple[int, int]:
        """Returns the number of steps and the batch size."""
        num_images = self.num_images or schedules.bit_num_images(num_train)
        batch_size = min(self.batch_size, num_images // MIN_STEPS)
        return num_images // batch_size, batch_size
