"""Length, batch size and learning rates that suit a network and a task."""

import dataclasses
from collections.abc import Sequence

from keras_experts.console import say
from keras_experts.mediums import TEXTS
from keras_experts.training.rates import recipes_of
from keras_experts.training.recipe import Recipe

BATCH_SIZE = 32
# Each example is seen this often, within the bounds below.
EPOCHS = 8
MIN_IMAGES, MAX_IMAGES = 3200, 256_000
SMALL_NETWORK = 5_000_000  # parameters
# Of equally good rates the first is used, so the middle one comes first.
SMALL_NETWORK_RATES = (0.4, 0.1, 1.6)
LARGE_NETWORK_RATES = (0.04, 0.01, 0.16)
TEXT_RATES = (1.6, 0.4, 6.4)
# A fifth of fewer examples does not tell rates apart.
MIN_TRAIN_TO_TRY = 50


@dataclasses.dataclass(frozen=True)
class RecipeOptions:
    """The settings of a recipe that a caller may leave to be chosen.

    Attributes:
        num_images: int. Images to train on, repeats counted; or None.
        batch_size: int. Images per step; or None.
        base_learning_rate: float, or several to try. Rate at batch size 512;
            or None.
    """

    num_images: int | None = None
    batch_size: int | None = None
    base_learning_rate: float | Sequence[float] | None = None

    def __post_init__(self):
        # Wrong values are refused before a module is loaded.
        rates = self.base_learning_rate
        recipes_of(0.0 if rates is None else rates, self._recipe(Recipe()))

    def recipes(
        self,
        recipe: Recipe,
        num_parameters: int,
        num_train: int,
        modality: str,
    ) -> dict[str, Recipe]:
        """Returns the recipes to try, and reports what was chosen.

        Args:
            recipe: Recipe with all other settings.
            num_parameters: int. Parameters of the network.
            num_train: int. Training examples of the task.
            modality: str. "images" or "texts".

        Returns:
            dict, as `recipes_of` returns it.
        """
        rates = SMALL_NETWORK_RATES
        if modality == TEXTS:
            rates = TEXT_RATES
        elif num_parameters > SMALL_NETWORK:
            rates = LARGE_NETWORK_RATES
        defaults = {
            "num_images": min(max(EPOCHS * num_train, MIN_IMAGES), MAX_IMAGES),
            "batch_size": BATCH_SIZE,
            "base_learning_rate": rates,
        }
        if num_train < MIN_TRAIN_TO_TRY:
            defaults["base_learning_rate"] = rates[:1]
        chosen = {
            name: value
            for name, value in defaults.items()
            if getattr(self, name) is None
        }
        if chosen:
            flags = " ".join(map(_flag, chosen, chosen.values()))
            say(
                f"Chosen for {num_parameters:,} parameters and {num_train:,} "
                f"training {modality}: {flags} (pass a flag to override it)"
            )
        options = dataclasses.replace(self, **chosen)
        return recipes_of(options.base_learning_rate, options._recipe(recipe))

    def _recipe(self, recipe: Recipe) -> Recipe:
        given = {"num_images": self.num_images, "batch_size": self.batch_size}
        given = {name: n for name, n in given.items() if n is not None}
        return dataclasses.replace(recipe, **given)


def _flag(name: str, value: int | Sequence[float]) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return " ".join([f"--{name}", *map("{:g}".format, values)])
