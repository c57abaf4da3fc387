"""The paper's protocol over a suite of tasks (section 6.3).

Each method picks a module for each task by all of its images but the test
ones. Hyperparameters are chosen on a part of them, several times; each time the
module is trained on all of them, several times, and tested.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.console import say
from keras_experts.data.labeled_images import join
from keras_experts.data.tasks import Task
from keras_experts.evaluation.protocol import Protocol
from keras_experts.evaluation.repeated import RepeatedTraining
from keras_experts.evaluation.results import ORACLE
from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import write_results
from keras_experts.evaluation.suites import Suite
from keras_experts.evaluation.suites import SuiteEntry
from keras_experts.evaluation.suites import load_suite
from keras_experts.locking import locked
from keras_experts.selection.features import FAILURES
from keras_experts.selection.modules import Named
from keras_experts.selection.modules import expand
from keras_experts.selection.registry import STRATEGIES
from keras_experts.selection.selector import select

RESULTS_FILE = "results.json"


def evaluate(
    suite: str | Suite,
    modules: Sequence[Named],
    output: str | Path,
    methods: Sequence[str] = ("baseline", "knn"),
    protocol: Protocol = Protocol(),
    data_dir: str | None = None,
    oracle_runs: int = 1,
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
        methods: names of strategies, as in `select`, which choose from
            `modules`; or STRATEGY@POOL, which chooses from one of `pools`.
            "oracle" trains every module of its pool, and chooses by their
            test images.
        protocol: Protocol.
        data_dir: str. The folder of TFDS data sets, or None.
        oracle_runs: int. How often the oracle trains each module, at least
            1; more than the protocol's times count as these.
        processes: int. Trials at a time.
        trust: bool. As in `select`.
        pools: dict of a name to modules. Other pools to choose from.
        trials: folder of the trials' records, which several evaluations may
            share, or None for one in `output`.

    Returns:
        Results.

    Raises:
        BlockingIOError: if another process writes to `output`.
        FileNotFoundError: if a module or a suite's file is not there.
        ValueError: if no task is there, every module failed on each, or a
            method or its pool is unknown.
    """
    if not isinstance(suite, Suite):
        suite = load_suite(suite)
    named = {"": list(modules), **(pools or {})}
    check_at_least(oracle_runs=(oracle_runs, 1))
    output = Path(output).expanduser()
    ways = _ways(methods, named)
    candidates = [c for pool in named.values() for c in expand(pool)]
    with locked(output):
        training = RepeatedTraining(
            output,
            Path(trials).expanduser() if trials else output / "trials",
            candidates,
            protocol,
            data_dir,
            processes,
            trust,
        )
        evaluation = _Evaluation(output, named, ways, training, trust)
        described = tuple(entry.described for entry in suite.entries)
        runs: list[Run] = []
        for entry in suite.entries:
            try:
                task = entry.tuning(data_dir)
            except (OSError, ValueError) as error:
                say(f"Missing {entry.name}: {error}")
                continue
            runs += evaluation.of_task(entry, task, oracle_runs)
            results = Results(
                suite.name, described, tuple(runs), dataclasses.asdict(protocol)
            )
            write_results(output / RESULTS_FILE, results)
        if not runs:
            raise ValueError(
                "A suite must have a task whose data are there, and a module "
                "that can be fine-tuned. "
                f"Received: none of {len(described)} tasks."
            )
        return results


def _ways(
    methods: Sequence[str], pools: Mapping[str, Sequence[Named]]
) -> dict[str, tuple[str, str]]:
    """Gives each method's strategy and pool."""
    known = [*STRATEGIES, ORACLE]
    ways = {}
    for method in methods:
        strategy, at, pool = method.partition("@")
        if strategy not in known or pool not in pools or at and not pool:
            others = ", ".join(name for name in pools if name) or "none"
            raise ValueError(
                f"A method must be one of {', '.join(known)}, or one of "
                f"them, @ and a pool ({others}). Received: {method!r}."
            )
        ways[method] = strategy, pool
    unused = sorted(pools.keys() - {pool for _, pool in ways.values()} - {""})
    if unused:
        raise ValueError(
            "Of each pool a method must choose, as in knn@POOL. Received: none "
            f"for {', '.join(unused)}."
        )
    return ways


class _Evaluation:
    """What all tasks of an evaluation share."""

    def __init__(
        self,
        output: Path,
        pools: Mapping[str, Sequence[Named]],
        ways: Mapping[str, tuple[str, str]],
        training: RepeatedTraining,
        trust: bool,
    ):
        self._output = output
        self._pools = pools
        self._ways = ways
        self._training = training
        self._trust = trust

    def of_task(
        self, entry: SuiteEntry, task: Task, oracle_runs: int
    ) -> list[Run]:
        """Evaluates all methods on one task."""
        times = self._training.protocol.times
        chosen = self._select(entry, task)
        looks = min(oracle_runs, times)
        chosen |= self._best(entry, task, looks)
        wanted = dict.fromkeys(chosen.values(), times)
        outcomes = self._training.train(entry, task, wanted)
        return [
            run
            for method, module in chosen.items()
            for run in _runs(entry, method, module, outcomes.get(module, []))
        ]

    def _best(
        self, entry: SuiteEntry, task: Task, looks: int
    ) -> dict[str, str]:
        """Gives the module that each oracle picks: the best in other runs."""
        pools = {
            method: [
                candidate.handle
                for candidate in expand(self._pools[pool])
                if candidate.function is None
            ]
            for method, (strategy, pool) in self._ways.items()
            if strategy == ORACLE
        }
        # With other seeds: by the runs that are told, the best of many would
        # look better than it is.
        seen = self._training.train(
            entry,
            task,
            dict.fromkeys(itertools.chain(*pools.values()), looks),
            self._training.protocol.times,
        )
        medians = {
            module: np.median([record["accuracy"] for record in records])
            for module, records in seen.items()
        }
        return {
            method: max(trained, key=medians.get)
            for method, handles in pools.items()
            if (trained := [h for h in handles if h in medians])
        }

    def _select(self, entry: SuiteEntry, task: Task) -> dict[str, str]:
        """Gives the module that each strategy picks."""
        images = join([task.train, task.test])
        whole = Task(entry.name, images, images.take(0))
        chosen = {}
        for method, (strategy, pool) in self._ways.items():
            if strategy == ORACLE:
                continue
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


def _runs(
    entry: SuiteEntry, method: str, module: str, records: list[dict]
) -> list[Run]:
    told = ("recipe", "seed", "seconds", "failed")
    return [
        Run(
            entry.name,
            method,
            record["repeat"],
            record["run"],
            record["accuracy"],
            {"module": module, **{k: record[k] for k in told if k in record}},
        )
        for record in records
    ]
