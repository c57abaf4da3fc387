"""The paper's protocol over a suite of tasks (section 6.3).

Each method picks a module for each task by all of its images but the test
ones. Hyperparameters are chosen on a part of them, several times; each time the
module is trained on all of them, several times, and tested.
"""

from collections.abc import Mapping
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
from keras_experts.evaluation.protocol import Protocol
from keras_experts.evaluation.results import BASELINE
from keras_experts.evaluation.results import ORACLE
from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import write_results
from keras_experts.evaluation.suites import Suite
from keras_experts.evaluation.suites import SuiteEntry
from keras_experts.evaluation.suites import load_suite
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

RESULTS_FILE = "results.json"


def evaluate(
    suite: str | Suite,
    modules: Sequence[Named],
    output: str | Path,
    methods: Sequence[str] = ("baseline", "knn"),
    protocol: Protocol = Protocol(),
    data_dir: str | None = None,
    oracle: int = 0,
    processes: int = 1,
    trust: bool = False,
    pools: Mapping[str, Sequence[Named]] | None = None,
    trials: str | Path | None = None,
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
        oracle: int. How often every module is trained too, at most all of
            the protocol's times; the best one of each task by its test images
            is the method "oracle". 0: there is none.
        processes: int. Trials at a time.
        trust: bool. As in `select`.
        pools: dict of a name to modules. Other pools to choose from, by all
            methods but "baseline", which are told apart as METHOD@NAME.
        trials: folder of the trials' records, which several evaluations may
            share, or None for one in `output`.

    Returns:
        Results.

    Raises:
        FileNotFoundError: if a module or a suite's file is not there.
        ValueError: if no task is there, or every module failed on each.
    """
    if not isinstance(suite, Suite):
        suite = load_suite(suite)
    expanded = {"": expand(modules)}
    for name, members in (pools or {}).items():
        expanded[name] = expand(members)
    evaluation = _Evaluation(
        Path(output),
        Path(trials or Path(output) / "trials"),
        expanded,
        protocol,
        data_dir,
        processes,
        trust,
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
        trials: Path,
        pools: dict[str, list[Candidate]],
        protocol: Protocol,
        data_dir: str | None,
        processes: int,
        trust: bool,
    ):
        self._output, self._trials = output, trials
        self._pools = pools
        self._candidates = {
            candidate.handle: candidate
            for pool in pools.values()
            for candidate in pool
        }
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
        oracle: int,
    ) -> list[Run]:
        """Evaluates all methods on one task."""
        chosen = self._select(entry, task, methods)
        times = self._protocol.times
        wanted = dict.fromkeys(chosen.values(), times)
        outcomes = self._of_modules(entry, task, wanted)
        runs = [
            run
            for method, module in chosen.items()
            for run in _runs(entry, method, outcomes.get(module, []))
        ]
        if oracle:
            runs += self._of_best(entry, task, min(oracle, times))
        return runs

    def _of_best(self, entry: SuiteEntry, task: Task, looks: int) -> list[Run]:
        """Gives the runs of the module that is best in a few of them."""
        handles = [
            handle
            for handle, candidate in self._candidates.items()
            if candidate.function is None
        ]
        seen = self._of_modules(entry, task, dict.fromkeys(handles, looks))
        if not seen:
            return []
        best = max(
            seen, key=lambda m: np.median([r["accuracy"] for r in seen[m]])
        )
        # As often as others, or chance would make it look better.
        wanted = {best: self._protocol.times}
        records = self._of_modules(entry, task, wanted)
        return _runs(entry, ORACLE, records[best])

    def _of_modules(
        self, entry: SuiteEntry, task: Task, modules: dict[str, int]
    ) -> dict[str, list[dict]]:
        """Trains each module so many times; gives those that did not fail."""
        recipes = self._choose(entry, task, modules)
        return self._train(entry, recipes, modules)

    def _select(
        self, entry: SuiteEntry, task: Task, methods: Sequence[str]
    ) -> dict[str, str]:
        """Gives the module that each method picks."""
        images = join([task.train, task.test])
        whole = Task(entry.name, images, images.take(0))
        chosen = {}
        ways = [
            (method, pool, f"{method}@{pool}" if pool else method)
            for pool, method in product(self._pools, methods)
            if not pool or method != BASELINE
        ]
        for strategy, pool, method in ways:
            try:
                selection = select(
                    whole,
                    self._pools[pool],
                    strategy,
                    num_examples=images.num_examples,
                    racing="off",
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
        self, entry: SuiteEntry, task: Task, modules: dict[str, int]
    ) -> dict[tuple[str, int], dict]:
        """Gives the recipe of each module and repeat; none if all failed."""
        number = task.train.num_examples
        places, wanted = [], []
        chosen: dict[tuple[str, int], dict] = {}
        runs = self._protocol.runs
        for module, repeat in (
            (module, repeat)
            for module, times in modules.items()
            for repeat in range(-(-times // runs))
        ):
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
        self,
        entry: SuiteEntry,
        recipes: dict[tuple[str, int], dict],
        modules: dict[str, int],
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
            if repeat * runs + run < modules[module]
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
        return run_trials(trials, self._trials, self._processes, title)

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
