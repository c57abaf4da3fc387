"""The paper's protocol over a suite of tasks (section 6.3).

Each method picks a module for each task by all of its images but the test
ones. Hyperparameters are chosen on a part of them, several times; each time the
module is trained on all of them, several times, and tested.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.console import say
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.tasks import Task
from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import write_results
from keras_experts.evaluation.suites import Suite
from keras_experts.evaluation.suites import SuiteEntry
from keras_experts.evaluation.suites import load_suite
from keras_experts.evaluation.sweeps import SWEEPS
from keras_experts.evaluation.trials import FINAL
from keras_experts.evaluation.trials import TUNING
from keras_experts.evaluation.trials import Trial
from keras_experts.evaluation.trials import run_trials
from keras_experts.selection.features import FAILURES
from keras_experts.selection.fingerprints import describe
from keras_experts.selection.fingerprints import digests
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import Named
from keras_experts.selection.modules import expand
from keras_experts.selection.selector import select
from keras_experts.training import schedules

ORACLE = "oracle"
RESULTS_FILE = "results.json"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is run of each task.

    Attributes:
        sweep: str. A name of `SWEEPS`.
        repeats: int. Choices of hyperparameters.
        runs: int. Trainings with each choice.
        num_images: int. Images of length 1, or None for the BiT-HyperRule's.
        batch_size: int. Images a step.
    """

    sweep: str = "hyperrule"
    repeats: int = 10
    runs: int = 3
    num_images: int | None = None
    batch_size: int = schedules.BATCH_SIZE

    def __post_init__(self):
        if self.sweep not in SWEEPS:
            raise ValueError(
                f"`sweep` must be one of {', '.join(SWEEPS)}. "
                f"Received: {self.sweep!r}."
            )
        if self.repeats < 1 or self.runs < 1:
            raise ValueError(
                "`repeats` and `runs` must be at least 1. "
                f"Received: {self.repeats} and {self.runs}."
            )

    def recipes(self, num_train: int, seed: int) -> list[dict]:
        """Gives the hyperparameters to choose from."""
        unit = self.num_images or schedules.bit_num_images(num_train)
        return [
            {"batch_size": self.batch_size, **recipe}
            for recipe in SWEEPS[self.sweep](unit, seed)
        ]


def evaluate(
    suite: str | Suite,
    modules: Sequence[Named],
    output: str | Path,
    methods: Sequence[str] = ("baseline", "knn"),
    protocol: Protocol = Protocol(),
    data_dir: str | None = None,
    oracle: bool = False,
    processes: int = 1,
    trust: bool = False,
) -> Results:
    """Evaluates ways to choose a module, on a suite of tasks.

    What was done is recorded in `output`: run again, it goes on. Tasks whose
    data are not there are left out and named; no mean hides them.

    Args:
        suite: a name of `SUITES`, the path of a suite file, or a Suite.
        modules: as in `select`; functions cannot be fine-tuned.
        output: folder. Gets `results.json`, a manifest of each task's images,
            each task's selections, and a record of each trial.
        methods: names of strategies, as in `select`.
        protocol: Protocol.
        data_dir: str. The folder of TFDS data sets, or None.
        oracle: bool. Whether to fine-tune every module too; the best one of
            each task by its test images is the method "oracle".
        processes: int. Trials at a time.
        trust: bool. As in `select`.

    Returns:
        Results.

    Raises:
        FileNotFoundError: if a module is not there, or no task is.
        ValueError: if every module failed on every task.
    """
    if not isinstance(suite, Suite):
        suite = load_suite(suite)
    candidates = expand(modules)
    evaluation = _Evaluation(
        Path(output), candidates, protocol, data_dir, processes, trust
    )
    described = tuple(entry.described for entry in suite.entries)
    runs: list[Run] = []
    for entry in suite.entries:
        try:
            task = entry.tuning(data_dir)
        except (FileNotFoundError, ValueError) as error:
            say(f"Missing {entry.name}: {error}")
            continue
        runs += evaluation.of_task(entry, task, methods, oracle)
        results = Results(suite.name, described, tuple(runs))
        write_results(Path(output) / RESULTS_FILE, results)
    if not runs:
        raise ValueError(
            "A suite must have a task whose data are there, and a module that "
            f"can be fine-tuned. Received: none of {len(described)} tasks."
        )
    return results


class _Evaluation:
    """What all tasks of an evaluation share."""

    def __init__(
        self,
        output: Path,
        candidates: list[Candidate],
        protocol: Protocol,
        data_dir: str | None,
        processes: int,
        trust: bool,
    ):
        self._output = output
        self._candidates = candidates
        self._protocol = protocol
        self._data_dir = data_dir
        self._processes = processes
        self._trust = trust

    def of_task(
        self,
        entry: SuiteEntry,
        task: Task,
        methods: Sequence[str],
        oracle: bool,
    ) -> list[Run]:
        """Evaluates all methods on one task."""
        chosen = self._select(entry, task, methods)
        modules = list(dict.fromkeys(chosen.values()))
        if oracle:
            every = [c.handle for c in self._candidates if c.function is None]
            modules = list(dict.fromkeys([*modules, *every]))
        outcomes = self._outcomes(entry, task, modules)
        runs = [
            run
            for method, module in chosen.items()
            for run in _runs(entry, method, outcomes[module])
        ]
        if oracle:
            tested = {m: rows for m, rows in outcomes.items() if rows}
            if tested:
                best = max(
                    tested,
                    key=lambda m: np.median([r["accuracy"] for r in tested[m]]),
                )
                runs += _runs(entry, ORACLE, tested[best])
        return runs

    def _select(
        self, entry: SuiteEntry, task: Task, methods: Sequence[str]
    ) -> dict[str, str]:
        """Gives the module that each method picks."""
        images = entry.learning(self._data_dir)
        whole = Task(entry.name, images, images.take(0))
        chosen = {}
        for method in methods:
            try:
                selection = select(
                    whole,
                    self._candidates,
                    method,
                    num_examples=images.num_examples,
                    trust=self._trust,
                )
            except FAILURES as error:
                say(f"No module by {method} for {entry.name}: {error}")
                continue
            folder = self._output / "selections" / entry.name
            files.write_json(folder / f"{method}.json", selection.to_json())
            chosen[method] = selection.best.module
        return chosen

    def _outcomes(
        self, entry: SuiteEntry, task: Task, modules: list[str]
    ) -> dict[str, list[dict]]:
        """Gives the final records of each module; none if it failed."""
        protocol = self._protocol
        identity = self._manifest(entry, TUNING, task)
        number = task.train.num_examples
        places, trials = [], []
        for module in modules:
            for repeat in range(protocol.repeats):
                recipes = protocol.recipes(number, repeat)
                if len(recipes) == 1:
                    continue  # nothing to choose
                for recipe in recipes:
                    places.append((module, repeat))
                    trials.append(
                        self._trial(
                            module, entry, TUNING, recipe, repeat, identity
                        )
                    )
        tuned = self._run(trials, f"choosing for {entry.name}")
        best: dict[tuple[str, int], dict] = {}
        for place, record in zip(places, tuned, strict=True):
            known = best.get(place)
            if "failed" not in record and (
                known is None or record["accuracy"] > known["accuracy"]
            ):
                best[place] = record
        # Only here are test images read.
        final = entry.final(self._data_dir)
        identity = self._manifest(entry, FINAL, final)
        places, trials = [], []
        for module in modules:
            for repeat in range(protocol.repeats):
                recipes = protocol.recipes(number, repeat)
                recipe = recipes[0] if len(recipes) == 1 else None
                if (module, repeat) in best:
                    recipe = best[module, repeat]["recipe"]
                if recipe is None:
                    continue  # all of the choices failed
                for run in range(protocol.runs):
                    seed = repeat * protocol.runs + run
                    places.append((module, repeat, run))
                    trials.append(
                        self._trial(
                            module, entry, FINAL, recipe, seed, identity
                        )
                    )
        records = self._run(trials, f"training on {entry.name}")
        outcomes: dict[str, list[dict]] = {module: [] for module in modules}
        for (module, repeat, run), record in zip(places, records, strict=True):
            if "failed" not in record:
                outcomes[module].append(
                    {**record, "repeat": repeat, "run": run}
                )
        return outcomes

    def _run(self, trials: list[Trial], title: str) -> list[dict]:
        folder = self._output / "trials"
        return run_trials(trials, folder, self._processes, title)

    def _trial(
        self,
        module: str,
        entry: SuiteEntry,
        part: str,
        recipe: dict,
        seed: int,
        images: str,
    ) -> Trial:
        memo = files.cache_folder() / "fingerprints"
        candidate = next(c for c in self._candidates if c.handle == module)
        known = describe(candidate, memo)
        if known.key is None:
            raise ValueError(
                "A module to fine-tune must be a SavedModel. "
                f"Received: {module}, a function."
            )
        return Trial(
            module,
            entry,
            part,
            recipe,
            seed,
            (known.key, images),
            self._data_dir,
            self._trust,
        )

    def _manifest(self, entry: SuiteEntry, part: str, task: Task) -> str:
        """Writes which images a part of a task has, and gives their digest."""
        content = {
            "task": entry.name,
            "part": part,
            "class_names": task.class_names,
            "train": _identified(task.train),
            "test": _identified(task.test),
        }
        name = f"{entry.name}.{part}.json"
        files.write_json(self._output / "manifests" / name, content)
        parts = content["train"]["sha256"] + content["test"]["sha256"]
        return hashlib.sha256(parts.encode()).hexdigest()


def _identified(images: LabeledImages) -> dict:
    """Tells which images these are."""
    found = digests(images)
    digest = hashlib.sha256(found.tobytes())
    digest.update(images.labels.astype("<i8").tobytes())
    return {
        "num_examples": images.num_examples,
        "sha256": digest.hexdigest(),
        "examples": [images.name(i) for i in range(images.num_examples)],
        "digests": [row.tobytes().hex()[:16] for row in found],
    }


def _runs(entry: SuiteEntry, method: str, records: list[dict]) -> list[Run]:
    return [
        Run(
            entry.name,
            method,
            record["repeat"],
            record["run"],
            record["accuracy"],
            {
                key: record[key]
                for key in ("module", "recipe", "seed", "seconds")
            },
        )
        for record in records
    ]
