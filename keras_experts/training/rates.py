"""The best of several learning rates, by images that are held out."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.console import say
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.training.recipe import Recipe
from keras_experts.training.transfer import Transfer

# Of the training images, those to choose by; a fifth as in VTAB.
SHARE = 0.2
FOLDER, FILE = "rates", "accuracies.json"


def recipes_of(
    rates: float | Sequence[float], recipe: Recipe
) -> dict[str, Recipe]:
    """Gives the recipe with each rate by its text, different ones in order.

    Raises:
        ValueError: if there is none, or one is below 0.
    """
    several = np.atleast_1d(rates).astype(float).tolist()
    if not several:
        raise ValueError("There must be a learning rate. Received: none.")
    return {
        str(rate): dataclasses.replace(recipe, base_learning_rate=rate)
        for rate in several
    }


def choose_recipe(
    transfer: Transfer,
    images: LabeledImages,
    recipes: dict[str, Recipe],
    seed: int,
    name: str,
    folder: Path | None = None,
    settings: dict | None = None,
) -> tuple[Recipe, dict[str, float | None]]:
    """Trains with each rate on a part of the images, and tests on the rest.

    If there is one recipe, nothing is trained.

    Args:
        transfer: Transfer.
        images: LabeledImages.
        recipes: as of `recipes_of`.
        seed: int. Of the part, of the order and the augmentation.
        name: str. Of the task.
        folder: where trainings go on that were killed, or None.
        settings: as in `Trainer.fit`.

    Returns:
        The recipe of highest accuracy, of equals the first, and a dict of each
        rate to its accuracy, or to None where the training diverged.

    Raises:
        ValueError: if there are too few images to hold some out.
        FloatingPointError: if all trainings diverged.
    """
    if len(recipes) == 1:
        return *recipes.values(), {}
    part, rest = _split(images, seed)
    record = None if folder is None else folder / FOLDER / FILE
    known = files.read_json(record) if record and record.exists() else {}
    for rate, recipe in recipes.items():
        if rate in known:
            continue
        say(
            f"Rate {rate}, on {part.num_examples:,} of "
            f"{images.num_examples:,} training examples:"
        )
        own = None if folder is None else folder / FOLDER / rate
        try:
            transfer.fit(
                part,
                recipe,
                seed,
                name,
                own,
                settings,
                num_train=images.num_examples,
            )
            predicted = transfer.predict(rest, "validation")
            known[rate] = float(np.mean(predicted == rest.labels))
        except FloatingPointError as error:
            say(str(error))
            known[rate] = None
        if record:
            files.write_json(record, known)
            shutil.rmtree(own, ignore_errors=True)
    tried = {rate: known[rate] for rate in recipes}
    ended = {r: found for r, found in tried.items() if found is not None}
    if not ended:
        raise FloatingPointError(
            "Of several learning rates one must not diverge. Received: "
            f"{', '.join(recipes)}."
        )
    return recipes[max(ended, key=ended.__getitem__)], tried


def _split(images: LabeledImages, seed: int):
    number = images.num_examples
    held_out = round(SHARE * number)
    if not held_out:
        raise ValueError(
            "To choose a learning rate there must be images to hold out, a "
            f"fifth. Received: {number} images."
        )
    places = np.random.default_rng(seed).permutation(number)
    rest = images.subset(np.sort(places[:held_out]))
    return images.subset(np.sort(places[held_out:])), rest
