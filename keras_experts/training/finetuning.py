"""Transfer: a module, a new head, and everything trains."""

import dataclasses
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_experts import config
from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.checks import finite_or_none
from keras_experts.data.class_summary import say_classes
from keras_experts.data.duplicates import without_copies
from keras_experts.data.fingerprints import digests
from keras_experts.data.fingerprints import fingerprint
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.data.tasks import say_unseen
from keras_experts.mediums import TEXTS
from keras_experts.models.heads import with_named_inputs
from keras_experts.random_state import callers_random_state
from keras_experts.random_state import seed_initializers
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.saved_models import text_modules
from keras_experts.saved_models.keras_files import UNIT_RANGE
from keras_experts.training import outcome
from keras_experts.training.best_state import BestState
from keras_experts.training.best_state import Validation
from keras_experts.training.classifier_module import write_classifier
from keras_experts.training.classifier_module import write_text_classifier
from keras_experts.training.output_folder import METRICS_FILE
from keras_experts.training.output_folder import UNFINISHED
from keras_experts.training.output_folder import new_output
from keras_experts.training.output_folder import new_result
from keras_experts.training.output_folder import unfinished_folder
from keras_experts.training.rates import choose_recipe
from keras_experts.training.recipe import Recipe
from keras_experts.training.recipe_options import RecipeOptions
from keras_experts.training.runtime import Runtime
from keras_experts.training.transfer import Transfer
from keras_experts.training.transfer_page import write_page
from keras_experts.training.watching import METRICS_FILE as STEPS_FILE

MODULE_FOLDER = "module"
KERAS_FILE, LAST_FILE = "model.keras", "last.keras"
CURVE_FILE, PAGE_FILE = "curve.jsonl", "report.html"


@callers_random_state()
@config.configurable
def finetune(
    module: str | Path | keras.Model,
    task: str | Path | Task,
    output: str | Path,
    data_dir: str | None = None,
    num_examples: int | None = None,
    num_images: int | None = None,
    batch_size: int | None = None,
    base_learning_rate: float | Sequence[float] | None = None,
    momentum: float = 0.9,
    image_size: int | None = None,
    flip: bool = False,
    max_shift: int = 0,
    groups: Sequence[str] = (),
    validation: float = 0.0,
    patience: int | None = None,
    precision: str = "float32",
    strategy: str = "one_device",
    compile: bool = True,
    seed: int = 0,
    trust: bool = False,
    input_range: Sequence[float] = UNIT_RANGE,
    text_column: str | None = None,
    label_column: str | None = None,
) -> dict:
    """Fine-tunes a whole module with a new head (paper, section 5.1).

    The warm-up, the three divisions of the learning rate and mixup are those
    of the BiT-HyperRule, stretched over `num_images`. The length, the batch
    size and the learning rates are chosen for the size of the network and the
    number of training examples unless they are given. For the paper's
    BiT-HyperRule on a small task, pass `num_images=256_000`,
    `batch_size=512` and `base_learning_rate=0.003`.

    Args:
        module: str. Path or URL of a reusable SavedModel; `MODULE#name` is an
            expert of a bank, which is cut out. Of texts, an encoder as in
            `preprocessor_of`. Or a Keras model from images in [0, 1] to
            features, or the path of its `.keras` file.
        task: as in `load_task`, or a Task.
        output: folder to make: `module/` (a classifier from images or texts
            to logits, and to labelled probabilities), `model.keras`,
            `metrics.json` (with the confusion matrix of the test images),
            `curve.jsonl` (losses and rates), `report.html` (both as
            pictures) and `operative_config.gin`; with `validation` these are
            of the best state, and `last.keras` is the last one. A run that was
            killed goes on from `.unfinished/` in the folder.
        data_dir: str. The folder of TFDS data sets, or None.
        num_examples: int. Training images, at most; None for all.
        num_images: int. Images to train on, repeats counted, or None to
            choose.
        batch_size: int. Images per step, at most half of `num_images`, or
            None to choose. The learning rate scales with it.
        base_learning_rate: float. Learning rate at batch size 512, or None to
            choose. If there are several, each is tried on four fifths of the
            training images; the best on the remaining fifth is used.
        momentum: float. In [0, 1).
        image_size: int. Pixels, or None for the module's own.
        flip: bool. Whether to mirror half of the images; only where a
            mirrored image keeps its label.
        max_shift: int. Largest random shift, pixels; only where a shifted
            image keeps its label.
        groups: of "head", "adapters", "norms" and "blocks": what is trained,
            the head in any case; everything where none is given.
        validation: float. Fraction of the training images that is held out
            to choose the best state by, in [0, 1); 0 for none. A task with a
            validation split besides a test split uses all of that instead.
        patience: int. Looks at them, of ten, without a better one after which
            training stops; None to train to the end.
        precision: str. "float32" or "bfloat16".
        strategy: str. As in `make_strategy`, on one machine.
        compile: bool. Whether to compile with XLA.
        seed: int. Of the order and the augmentation.
        trust: bool. As in `HubLayer`.
        input_range: two floats. What anybody's module takes for black and
            white.
        text_column: str. As in `load_task`.
        label_column: str. As in `load_task`.

    Returns:
        dict. The content of `metrics.json`. Its accuracy leaves out test
        images that are exact copies of training images or of each other.

    Raises:
        BlockingIOError: if another process writes to `output`.
        FileExistsError: if `output` holds something.
        FileNotFoundError: if the module or the task is not there.
        ValueError: if the module does not take the task's images, or a number
            is out of its range.
    """
    arguments = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in locals().items()
    }
    started = time.monotonic()
    if not isinstance(module, keras.Model):
        module = str(module)
    output = Path(output).expanduser()
    if image_size is not None:
        check_at_least(image_size=(image_size, 1))
    options = RecipeOptions(num_images, batch_size, base_learning_rate)
    recipe = Recipe(
        momentum=momentum,
        flip=flip,
        max_shift=max_shift,
        groups=tuple(groups),
    )
    looks = Validation(validation, patience=patience)
    if strategy == "multi_worker":
        raise ValueError(
            f"Fine-tuning runs on one machine. Received: strategy={strategy!r}."
        )
    with new_output(output):
        if not isinstance(task, Task):
            columns = (text_column, label_column)
            task = load_task(
                task, data_dir, num_examples, *columns, validation > 0
            )
        _check_medium(module, task)
        train_digests = digests(task.train)
        settings = {
            "module": outcome.name_of(module),
            "weights": outcome.digest_of(module),
            "task": task.name,
            "images": fingerprint(task.train, train_digests),
            "seed": seed,
            "precision": precision,
            "input_range": list(input_range),
            **dataclasses.asdict(looks),
        }
        if validation and task.validation is not None:
            settings["validation_images"] = fingerprint(task.validation)
        num_test = task.test.num_examples
        task = without_copies(task, train_digests)
        num_copies = num_test - task.test.num_examples
        task, held_out = looks.hold_out(task)
        say_classes(task)
        say_unseen(task)
        seed_initializers(seed)
        transfer = Transfer(
            module,
            len(task.class_names),
            image_size,
            Runtime(strategy, compile=compile),
            trust,
            precision,
            tuple(input_range),
        )
        recipes = options.recipes(
            transfer.suited(recipe),
            transfer.model.count_params(),
            task.train.num_examples,
            task.medium,
        )
        recipe = next(iter(recipes.values()))
        settings |= dataclasses.asdict(recipe) | {"rates": list(recipes)}
        settings |= transfer.inputs.facts
        unfinished = unfinished_folder(output, settings)
        run = (seed, task.name, unfinished, settings)
        recipe, rates = choose_recipe(transfer, task.train, recipes, *run)
        best = None
        if held_out is not None:
            best = transfer.best_state(looks, held_out, unfinished)
        training = transfer.fit(task.train, recipe, *run, best)
        directory = new_result(unfinished)
        if best is not None:
            last = with_named_inputs(transfer.float32_model())
            last.save(directory / LAST_FILE)
            best.restore()
        recipe, warning = outcome.keep_better_state(
            transfer, recipe, task.train, seed, task.name
        )
        metrics = {
            **outcome.measure(module, task, transfer, recipe, seed, strategy),
            "num_test_copies": num_copies,
            **({"rates": rates} if rates else {}),
            **_told(best),
            **({"warning": warning} if warning else {}),
            "final_loss": finite_or_none(training.last_losses[0]),
            "seconds": round(time.monotonic() - started, 1),
        }
        shutil.copyfile(unfinished / STEPS_FILE, directory / CURVE_FILE)
        _write(directory, transfer, task, metrics, arguments)
        files.move_contents(directory, output, last=METRICS_FILE)
        shutil.rmtree(output / UNFINISHED, ignore_errors=True)
    return metrics


def _write(
    directory: Path,
    transfer: Transfer,
    task: Task,
    metrics: dict,
    arguments: dict,
) -> None:
    """Writes the network, its figures and its settings, beside its curve."""
    model = transfer.float32_model()
    of_texts = transfer.medium == TEXTS
    write = write_text_classifier if of_texts else write_classifier
    write(
        directory / MODULE_FOLDER,
        model,
        transfer.inputs,
        task.class_names,
        f"{metrics['expert']}_{task.name}",
    )
    with_named_inputs(model).save(directory / KERAS_FILE)
    write_page(directory / PAGE_FILE, metrics, directory / CURVE_FILE)
    config.write_operative_config(directory, "finetune", arguments)
    files.write_json(directory / METRICS_FILE, metrics)


def _told(best: BestState | None) -> dict:
    """Tells the looks at images held out, and the best of them."""
    if best is None:
        return {}
    return {
        "validation": best.looks,
        "best_step": best.best["step"],
        "validation_accuracy": best.best["accuracy"],
    }


def _check_medium(module: str | keras.Model, task: Task) -> None:
    """Raises unless a module takes what a task consists of."""
    if keras_models.is_network(module):
        taken = keras_models.medium_of(module) or task.medium
    else:
        taken = text_modules.takes(handles.resolve(module))
    text_modules.check_medium(outcome.name_of(module), taken, task.medium)
