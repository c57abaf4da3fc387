"""Medians, intervals and comparisons of many runs, as the paper has them.

Of each task and method the median of all runs counts; of a group of tasks the
mean of the medians. Intervals are those of the percentile bootstrap: the runs
of each task are drawn again with replacement. Methods that were run with the
same repeats are drawn together, so that they can be compared by pairs. One run
of a task says nothing of others, and then there is no interval.
"""

import dataclasses

import numpy as np

from keras_experts.evaluation.results import Results

NUM_RESAMPLES = 10_000
ENDS = (2.5, 97.5)
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: float.
        low: float. Lower end, or NaN if some task has one run alone.
        high: float. Upper end, likewise.
        tasks: tuple of str. Those it is of.
        missing: tuple of str. Those it should be of, but there is no run.
    """

    value: float
    low: float
    high: float
    tasks: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def has_interval(self) -> bool:
        """Whether the runs are enough to give one."""
        return not np.isnan(self.low)

    @property
    def is_sure(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


class Summary:
    """The statistics of results.

    Args:
        results: Results.
        num_resamples: int. Of the bootstrap.
        seed: int. Of the draws.

    Attributes:
        results: Results.
    """

    def __init__(
        self,
        results: Results,
        num_resamples: int = NUM_RESAMPLES,
        seed: int = 0,
    ):
        self.results = results
        self._values: dict[str, dict[str, np.ndarray]] = {}
        self._medians: dict[str, dict[str, np.ndarray]] = {}
        groups = {task.name: task.group for task in results.tasks}
        self._tasks = {
            group: tuple(
                name for name, own in groups.items() if group in (own, ALL)
            )
            for group in (*results.groups, ALL)
        }
        rng = np.random.default_rng(seed)
        for task, runs in _by_task(results).items():
            draws: dict[tuple, np.ndarray] = {}
            for method, rows in runs.items():
                # The same draws for the same repeats.
                keys = tuple(key for key, _ in rows)
                if keys not in draws:
                    shape = (num_resamples, len(keys))
                    draws[keys] = rng.integers(len(keys), size=shape)
                values = np.array([value for _, value in rows])
                self._values.setdefault(method, {})[task] = values
                self._medians.setdefault(method, {})[task] = np.median(
                    values[draws[keys]], axis=1
                )

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, and "all"."""
        return tuple(self._tasks)

    def task(self, method: str, task: str) -> Estimate | None:
        """Gives the median of a task's runs, or None without a run."""
        return self._mean(method, (task,))

    def group(self, method: str, group: str) -> Estimate | None:
        """Gives the mean of the medians of a group's tasks.

        Tasks without a run are left out, and named in `missing`.
        """
        return self._mean(method, self._tasks[group])

    def difference(
        self, first: str, second: str, group: str = ALL
    ) -> Estimate | None:
        """Compares two methods on the tasks that both were run on.

        Returns:
            Estimate of the first's mean less the second's.
        """
        both = self._values[first].keys() & self._values[second].keys()
        tasks = tuple(t for t in self._tasks[group] if t in both)
        if not tasks:
            return None
        values = self._point(first, tasks) - self._point(second, tasks)
        drawn = self._drawn(first, tasks) - self._drawn(second, tasks)
        missing = tuple(t for t in self._tasks[group] if t not in both)
        return _estimate(values, drawn, tasks, missing)

    def regret(
        self, method: str, oracle: str, group: str = ALL
    ) -> Estimate | None:
        """Gives what a method loses against the best expert of each task.

        Args:
            method: str.
            oracle: str. The method whose runs are those of the best expert.
            group: str.
        """
        return self.difference(oracle, method, group)

    def _mean(self, method: str, wanted: tuple[str, ...]) -> Estimate | None:
        known = self._values.get(method, {})
        tasks = tuple(task for task in wanted if task in known)
        if not tasks:
            return None
        missing = tuple(task for task in wanted if task not in known)
        return _estimate(
            self._point(method, tasks),
            self._drawn(method, tasks),
            tasks,
            missing,
        )

    def _point(self, method: str, tasks: tuple[str, ...]) -> float:
        values = self._values[method]
        return float(np.mean([np.median(values[task]) for task in tasks]))

    def _drawn(self, method: str, tasks: tuple[str, ...]) -> np.ndarray:
        drawn = np.mean([self._medians[method][t] for t in tasks], axis=0)
        few = any(len(self._values[method][task]) < 2 for task in tasks)
        return np.full_like(drawn, np.nan) if few else drawn


def mean_per_class(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Gives the mean over classes of the share of their images that is right.

    Args:
        labels: int array `(n,)`. Classes without an image do not count.
        predicted: int array `(n,)`.
    """
    labels = np.asarray(labels)
    right = np.bincount(labels, weights=labels == np.asarray(predicted))
    number = np.bincount(labels)
    present = number > 0
    return float(np.mean(right[present] / number[present]))


def _by_task(results: Results) -> dict[str, dict[str, list]]:
    """Gives of each task and method the runs, in the order of their keys."""
    found: dict[str, dict[str, list]] = {}
    for run in results.runs:
        methods = found.setdefault(run.task, {})
        key = (run.repeat, run.run)
        methods.setdefault(run.method, []).append((key, run.accuracy))
    for methods in found.values():
        for rows in methods.values():
            rows.sort()
    return found


def _estimate(value, drawn, tasks, missing) -> Estimate:
    low, high = np.percentile(drawn, ENDS)
    return Estimate(float(value), float(low), float(high), tasks, missing)
