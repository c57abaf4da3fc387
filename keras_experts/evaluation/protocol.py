"""The paper's protocol over a suite of tasks (section 6.3).

Each method picks a module for each task by all of its images but the test
ones. Hyperparameters are chosen on a part of them, several times; each time the
module is trained on all of them, several times, and tested.
"""

import dataclasses
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.console import say
from keras_experts.data.labeled_images import join
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import say_unseen
from keras_experts.evaluation.manifests import write_manifest
from keras_experts.evaluation.results import ORACLE
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
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import Named
from keras_experts.selection.modules import expand
from keras_experts.selection.selector import select
from keras_experts.training import schedules

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
        FileNotFoundError: if a module or a suite's file is not there.
        ValueError: if no task is there, or every module failed on each.
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
        except (OSError, ValueError) as error:
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
        self._candidates = {c.handle: c for c in candidates}
        self._protocol = protocol
        self._data_dir = data_dir
        self._processes = processes
        self._trust = trust
        self._keys: dict[str, str] = {}

    def of_task(
        self,
        entry: SuiteEntry,
        task: Task,
        methods: Sequence[str],
        oracle: bool,
    ) -> list[Run]:
        """Evaluates all methods on one task."""
        chosen = self._select(entry, task, methods)
        modules = dict.fromkeys(chosen.values())
        if oracle:
            modules |= dict.fromkeys(
                handle
                for handle, candidate in self._candidates.items()
                if candidate.function is None
            )
        recipes = self._choose(entry, task, list(modules))
        outcomes = self._train(entry, recipes)
        runs = [
            run
            for method, module in chosen.items()
            for run in _runs(entry, method, outcomes.get(module, []))
        ]
        if oracle and outcomes:
            best = max(
                outcomes,
                key=lambda m: np.median([r["accuracy"] for r in outcomes[m]]),
            )
            runs += _runs(entry, ORACLE, outcomes[best])
        return runs

    def _select(
        self, entry: SuiteEntry, task: Task, methods: Sequence[str]
    ) -> dict[str, str]:
        """Gives the module that each method picks."""
        images = join([task.train, task.test])
        whole = Task(entry.name, images, images.take(0))
        chosen = {}
        for method in methods:
            try:
                selection = select(
                    whole,
                    list(self._candidates.values()),
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

    def _choose(
        self, entry: SuiteEntry, task: Task, modules: list[str]
    ) -> dict[tuple[str, int], dict]:
        """Gives the recipe of each module and repeat; none if all failed."""
        number = task.train.num_examples
        places, wanted = [], []
        chosen: dict[tuple[str, int], dict] = {}
        for module, repeat in product(modules, range(self._protocol.repeats)):
            recipes = self._protocol.recipes(number, repeat)
            if len(recipes) == 1:  # nothing to choose
                chosen[module, repeat] = recipes[0]
                continue
            for recipe in recipes:
                places.append((module, repeat))
                wanted.append((module, recipe, repeat))
        records = self._run(entry, TUNING, task, wanted)
        best: dict[tuple[str, int], float] = {}
        for place, record in zip(places, records, strict=True):
            # Of equals the first.
            if record.get("accuracy", -1) > best.get(place, -1):
                best[place] = record["accuracy"]
                chosen[place] = record["recipe"]
        return chosen

    def _train(
        self, entry: SuiteEntry, recipes: dict[tuple[str, int], dict]
    ) -> dict[str, list[dict]]:
        """Gives the final records of each module that did not fail."""
        try:
            # Only here are test images read.
            final = entry.final(self._data_dir)
        except (OSError, ValueError) as error:
            say(f"Missing {entry.name}: {error}")
            return {}
        runs = self._protocol.runs
        places = [
            (module, repeat, run)
            for module, repeat in recipes
            for run in range(runs)
        ]
        wanted = [
            (module, recipes[module, repeat], repeat * runs + run)
            for module, repeat, run in places
        ]
        records = self._run(entry, FINAL, final, wanted)
        outcomes: dict[str, list[dict]] = {}
        for (module, repeat, run), record in zip(places, records, strict=True):
            if "failed" not in record:
                row = {**record, "repeat": repeat, "run": run}
                outcomes.setdefault(module, []).append(row)
        return outcomes

    def _run(
        self,
        entry: SuiteEntry,
        part: str,
        task: Task,
        wanted: list[tuple[str, dict, int]],
    ) -> list[dict]:
        """Runs trials, each of a module, a recipe and a seed."""
        if wanted:
            say_unseen(task)
        folder = self._output / "manifests"
        images = write_manifest(folder / f"{entry.name}.{part}.json", task)
        trials = [
            Trial(
                module,
                entry,
                part,
                recipe,
                seed,
                (self._key(module), images),
                self._data_dir,
                self._trust,
            )
            for module, recipe, seed in wanted
        ]
        title = f"{part} on {entry.name}"
        folder = self._output / "trials"
        return run_trials(trials, folder, self._processes, title)

    def _key(self, module: str) -> str:
        """Gives what tells a module from others, read once."""
        if module not in self._keys:
            memo = files.cache_folder() / "fingerprints"
            key = describe(self._candidates[module], memo).key
            if key is None:
                raise ValueError(
                    "A module to fine-tune must be a SavedModel. "
                    f"Received: {module}, a function."
                )
            self._keys[module] = key
        return self._keys[module]


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
