"""Trainings of an evaluation: each is run once, recorded, and found again.

A trial's name is the digest of all that its result follows from. Records lie
side by side in one folder; what was killed runs again, and nothing else.
"""

import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from keras_experts import files
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.processes import end_with_parent
from keras_experts.random_state import callers_random_state
from keras_experts.random_state import seed_initializers

# Changes whenever the same trial would have another result.
VERSION = 3
TUNING, FINAL = "tuning", "final"
# Of a record: the training diverged; or could not be begun or ended here, which
# may be otherwise another time.
FAILED, UNABLE = "failed", "unable"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training and its test.

    Attributes:
        module: str. Path or URL of the module, or of a bank's expert.
        entry: SuiteEntry.
        part: str. "tuning" or "final".
        recipe: dict. Fields of `Recipe`.
        seed: int.
        identity: tuple of str. Digests of the module and of the images.
        data_dir: str. The folder of TFDS data sets, or None.
        trust: bool. As in `HubLayer`.
        image_size: int. Pixels, or None for the module's own.
        input_range: two floats. What the module takes for black and white.
    """

    module: str
    entry: object
    part: str
    recipe: dict
    seed: int
    identity: tuple[str, ...]
    data_dir: str | None = None
    trust: bool = False
    image_size: int | None = None
    input_range: tuple[float, float] = (0.0, 1.0)

    @property
    def key(self) -> str:
        """Names the trial by what its result follows from."""
        content = (
            VERSION,
            self.identity,
            self.entry.name,  # the order of the images follows from it
            self.entry.metric,
            sorted(self.recipe.items()),
            self.seed,
        )
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def run_trials(
    trials: Sequence[Trial], folder: Path, processes: int, title: str
) -> list[dict]:
    """Runs the trials that have no record yet, and gives all records.

    Args:
        trials: Trial; the same one may be there several times.
        folder: of the records.
        processes: int. Trials at a time, each on its share of the cores.
        title: str. The title of the progress bar.

    Returns:
        list of dict, one a trial: `accuracy`; or `failed` with the reason, if
        it diverged; or `unable` with the reason, which is not recorded.

    Raises:
        RuntimeError: if a process was killed.
    """
    records: dict[str, dict] = {}
    todo: dict[str, Trial] = {}
    for trial in trials:
        record = _recall(folder, trial.key)
        if record is None:
            todo[trial.key] = trial
        else:
            records[trial.key] = record
    number = len({trial.key for trial in trials})
    with progress(title, number, number - len(todo), processes) as bar:
        for key, record in _run_all(list(todo.values()), processes):
            records[key] = record
            if UNABLE in record:
                say(f"Left out {todo[key].module}: {record[UNABLE]}")
            else:
                files.write_json(folder / f"{key}.json", record)
            if FAILED in record:
                say(f"Failed: {record[FAILED]}")
            bar.advance(1)
    return [records[trial.key] for trial in trials]


def _recall(folder: Path, key: str) -> dict | None:
    try:
        record = files.read_json(folder / f"{key}.json")
    except (FileNotFoundError, ValueError):
        return None  # not there, or damaged: it is run again
    fits = isinstance(record, dict) and ({"accuracy", FAILED} & record.keys())
    return record if fits else None


def _run_all(trials: list[Trial], processes: int) -> Iterator[tuple[str, dict]]:
    if not trials:
        return
    # Neighbours share a module: a process loads and compiles it once. Of one
    # module the longest come first, so that all processes end together.
    trials.sort(
        key=lambda t: (t.module, -(t.recipe.get("num_images") or 0), t.seed)
    )
    processes = min(processes, len(trials))
    if processes == 1:
        for trial in trials:
            yield trial.key, run_trial(trial)
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        _begin,
        (threads,),
    ) as pool:
        running = {pool.submit(run_trial, trial): trial for trial in trials}
        try:
            for done in as_completed(running):
                yield running[done].key, done.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "The processes of an evaluation must stay alive; run it again "
                "to go on, with fewer --processes where memory runs out. "
                "Received: one that was killed."
            ) from error
        except BaseException:
            # Those that run are not waited for, and those that wait not begun.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.kill()
            raise


def _begin(threads: int) -> None:
    """Prepares a process: quiet, on some cores, and gone with its parent."""
    from keras_experts import console

    console.silence()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells
    end_with_parent()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # One more: with one alone the input and the step wait for each other, and
    # a training takes 1.6 times as long.
    tf.config.threading.set_inter_op_parallelism_threads(threads + 1)


@callers_random_state()
def run_trial(trial: Trial) -> dict:
    """Trains and tests, and gives the record.

    What diverges is told in `failed`, and what cannot be trained or tested in
    `unable`; neither is an error.
    """
    from keras_experts.training.recipe import Recipe

    started = time.monotonic()
    record = {
        "module": trial.module,
        "task": trial.entry.name,
        "part": trial.part,
        "recipe": trial.recipe,
        "seed": trial.seed,
    }
    seed_initializers(trial.seed)
    try:
        weights, images = trial.identity
        task = _task(trial.entry, trial.part, trial.data_dir, images)
        record["num_train"] = task.train.num_examples
        record["num_test"] = task.test.num_examples
        transfer = _transfer(
            trial.module,
            len(task.class_names),
            trial.trust,
            trial.image_size,
            trial.input_range,
            weights,
        )
        recipe = Recipe(**trial.recipe)
        transfer.fit(task.train, recipe, trial.seed, task.name)
        predicted = transfer.predict(task.test)
    except FloatingPointError as error:
        return {**record, FAILED: str(error)}
    except (MemoryError, OSError, ValueError) as error:
        return {**record, UNABLE: str(error)}
    accuracy = _accuracy(trial.entry, task.test.labels, predicted)
    seconds = round(time.monotonic() - started, 2)
    return {**record, "accuracy": accuracy, "seconds": seconds}


def _accuracy(entry, labels, predicted) -> float:
    import numpy as np

    from keras_experts.evaluation import statistics
    from keras_experts.evaluation.suites import MEAN_PER_CLASS

    if entry.metric == MEAN_PER_CLASS:
        return statistics.mean_per_class(labels, predicted)
    return float(np.mean(predicted == labels))


# What was read from a place is not what lies there later: digests tell.
@functools.lru_cache(maxsize=2)
def _task(entry, part: str, data_dir: str | None, images: str):
    return entry.final(data_dir) if part == FINAL else entry.tuning(data_dir)


@functools.lru_cache(maxsize=1)
def _transfer(
    module: str,
    num_classes: int,
    trust: bool,
    image_size: int | None,
    input_range: tuple[float, float],
    weights: str,
):
    from keras_experts.training.transfer import Transfer

    return Transfer(
        module, num_classes, image_size, trust=trust, input_range=input_range
    )
