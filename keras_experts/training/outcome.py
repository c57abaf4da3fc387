"""The outcome of fine-tuning, and a check that anything was learned."""

import contextlib
import dataclasses
import uuid

import keras
import numpy as np

from keras_experts.console import say
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.tasks import Task
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.saved_models import references
from keras_experts.training.recipe import HEAD_ONLY
from keras_experts.training.recipe import Recipe
from keras_experts.training.transfer import Transfer

NORMAL_95 = 1.959964
HEAD_RATES = (1.0, 0.1, 0.01)  # of the network's rate
ADVICE = "Pass `--groups head`, or a lower `--base_learning_rate`."


def accuracy_interval(num_correct: int, num_examples: int) -> list[float]:
    """Returns Wilson's 95% interval of an accuracy.

    References:
        Wilson, 1927.
    """
    accuracy, z2 = num_correct / num_examples, NORMAL_95**2
    middle = accuracy + z2 / (2 * num_examples)
    variance = accuracy * (1 - accuracy) / num_examples
    half = np.sqrt(z2 * variance + (z2 / (2 * num_examples)) ** 2)
    ends = np.array([middle - half, middle + half]) / (1 + z2 / num_examples)
    return np.clip(ends, 0, 1).tolist()


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative log probability of the labels, in nats."""
    likelihood = probabilities[np.arange(len(labels)), labels]
    tiny = np.finfo(np.float32).tiny
    return float(-np.log(np.maximum(likelihood, tiny)).mean())


def guessing_loss(labels: np.ndarray) -> float:
    """Returns the log loss of guessing by the frequencies of the classes."""
    counts = np.bincount(labels)
    frequencies = counts[counts > 0] / len(labels)
    return float(-(frequencies * np.log(frequencies)).sum())


def keep_better_state(
    transfer: Transfer,
    recipe: Recipe,
    images: LabeledImages,
    seed: int,
    name: str,
) -> tuple[Recipe, str | None]:
    """Trains the head alone if training the whole network taught it nothing.

    Args:
        transfer: Transfer that was trained; afterwards it has the better one
            of the two states.
        recipe: Recipe that it was trained with.
        images: LabeledImages that it was trained on.
        seed: int. Of the order of images.
        name: str. Of the task.

    Returns:
        The recipe of the state that was kept, and a warning, or None where
        the network learned something.
    """
    if recipe.is_head_only:
        return recipe, None
    loss = log_loss(transfer.probabilities(images), images.labels)
    guessing = guessing_loss(images.labels)
    if loss < guessing:
        return recipe, None
    warning = (
        "Training the whole network taught it nothing: its loss on the "
        f"training {images.medium} is {loss:.3f}, and guessing by the "
        f"frequencies of the classes has {guessing:.3f}."
    )
    say(f"{warning} Training the head alone, on frozen features.")
    state = _train_heads(transfer, recipe, images, seed, name)
    transfer.restore(state.weights)
    if not state.recipe.is_head_only:
        return recipe, f"{warning} {ADVICE}"
    kept = "The result is a head trained on the module's own features."
    return state.recipe, f"{warning} {kept} {ADVICE}"


@dataclasses.dataclass(frozen=True)
class _State:
    accuracy: float
    weights: list[np.ndarray]
    recipe: Recipe


def _train_heads(
    transfer: Transfer,
    recipe: Recipe,
    images: LabeledImages,
    seed: int,
    name: str,
) -> _State:
    """Trains heads with falling rates, and returns the most accurate state.

    The network as it was trained is one of the states. A rate that was too
    high for the network is often too high for its head.
    """

    def state(recipe: Recipe) -> _State:
        accuracy = np.mean(transfer.predict(images) == images.labels)
        return _State(float(accuracy), transfer.model.get_weights(), recipe)

    states = [state(recipe)]
    for factor in HEAD_RATES:
        head = dataclasses.replace(
            recipe,
            base_learning_rate=factor * recipe.base_learning_rate,
            groups=HEAD_ONLY,
            flip=False,
            max_shift=0,
        )
        # One that diverges leaves the others.
        with contextlib.suppress(FloatingPointError):
            transfer.fit(images, head, seed, name)
            states.append(state(head))
    return max(states, key=lambda each: each.accuracy)


def name_of(module: str | keras.Model) -> str:
    """Returns the reference that a user gave, or a Keras model's name."""
    return module.name if isinstance(module, keras.Model) else module


def digest_of(module: str | keras.Model) -> str:
    """Returns what tells a module's weights from others."""
    if not keras_models.is_network(module):
        return handles.weights_digest(module)
    # What cannot be told from others is trained anew each time.
    return keras_models.digest_of(module) or uuid.uuid4().hex


def _expert_of(module: str | keras.Model) -> str:
    """Returns what to call a module in reports."""
    if keras_models.is_network(module):
        return keras_models.name_of(module)
    _, part = references.split(module)
    return part or handles.read_metadata(module).get("name", module)


def _range(transfer: Transfer) -> dict:
    """Returns the values of black and white that a network of images gets."""
    is_text = transfer.medium == TEXTS
    return {} if is_text else {"input_range": list(transfer.input_range)}


def measure(
    module: str | keras.Model,
    task: Task,
    transfer: Transfer,
    recipe: Recipe,
    seed: int,
    strategy: str,
) -> dict:
    """Tests a fine-tuned network, and returns the figures and the settings."""
    num_steps, batch_size = recipe.length(task.train.num_examples)
    predicted = transfer.predict(task.train)
    metrics = {
        "task": task.name,
        "module": name_of(module),
        "expert": _expert_of(module),
        "num_train": task.train.num_examples,
        "num_test": task.test.num_examples,
        "num_classes": len(task.class_names),
        **dataclasses.asdict(recipe),
        "groups": list(recipe.groups),
        "num_images": num_steps * batch_size,
        "batch_size": batch_size,
        **transfer.inputs.facts,
        **_range(transfer),
        "strategy": strategy,
        "seed": seed,
        "train_accuracy": float(np.mean(predicted == task.train.labels)),
        "accuracy": None,
    }
    if task.test.num_examples:
        labels, number = task.test.labels, len(task.class_names)
        predicted = transfer.predict(task.test)
        confusion = np.zeros((number, number), np.int64)
        np.add.at(confusion, (labels, predicted), 1)
        num_correct = int(np.count_nonzero(predicted == labels))
        metrics["accuracy"] = num_correct / len(labels)
        metrics["accuracy_interval"] = accuracy_interval(
            num_correct, len(labels)
        )
        metrics["class_names"] = task.class_names
        # Rows are classes, columns predictions.
        metrics["confusion"] = confusion.tolist()
    return metrics
