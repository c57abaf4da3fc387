"""Results of an evaluation as one file that says all that was run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from keras_experts import files

VERSION = 2
# Methods that others are compared with.
BASELINE, ORACLE = "baseline", "oracle"
FIELDS = {
    "version": int,
    "suite": str,
    "protocol": dict,
    "tasks": list,
    "runs": list,
}
TASK_FIELDS = {"name": str, "group": str, "metric": str}
RUN_FIELDS = {
    "task": str,
    "method": str,
    "repeat": int,
    "run": int,
    "accuracy": (int, float),
}


@dataclasses.dataclass(frozen=True)
class SuiteTask:
    """A task of a suite.

    Attributes:
        name: str.
        group: str. Such as "natural".
        metric: str. "accuracy" or "mean_per_class".
    """

    name: str
    group: str
    metric: str = "accuracy"


@dataclasses.dataclass(frozen=True)
class Run:
    """One training on all of a task's images, and its test.

    Attributes:
        task: str.
        method: str. How the module was chosen, such as "knn".
        repeat: int. Which choice of hyperparameters.
        run: int. Which training with them.
        accuracy: float in [0, 1], by the task's metric; 0 where the training
            diverged.
        details: dict. What else is told: module, hyperparameters, seconds,
            and `failed`, why it diverged.
    """

    task: str
    method: str
    repeat: int
    run: int
    accuracy: float
    details: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Results:
    """All runs of a suite.

    Attributes:
        suite: str.
        tasks: tuple of SuiteTask, those without a run too.
        runs: tuple of Run, each of another task, method, repeat and run.
        protocol: dict. Fields of `Protocol`.
    """

    suite: str
    tasks: tuple[SuiteTask, ...]
    runs: tuple[Run, ...]
    protocol: dict = dataclasses.field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in the order of their first runs."""
        return list(dict.fromkeys(run.method for run in self.runs))

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in the order of the tasks."""
        return list(dict.fromkeys(task.group for task in self.tasks))

    def to_json(self) -> dict:
        """Gives the content of a results file."""
        runs = []
        for run in self.runs:
            row = dataclasses.asdict(run)
            runs.append({**row.pop("details"), **row})
        tasks = [dataclasses.asdict(task) for task in self.tasks]
        return {
            "version": VERSION,
            "suite": self.suite,
            "protocol": self.protocol,
            "tasks": tasks,
            "runs": runs,
        }


def write_results(path: str | Path, results: Results) -> None:
    """Writes a results file, whole or not at all."""
    files.write_json(path, results.to_json())


def read_results(path: str | Path) -> Results:
    """Reads a results file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or of another version.
    """
    try:
        content = files.read_json(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            "Results must be a results.json of `evaluate`, or its folder. "
            f"Received: {path}, which is not there."
        ) from error
    _check(content, {"version": int}, "A results file", path)
    if content["version"] != VERSION:
        raise ValueError(
            f"A results file must be of version {VERSION}. "
            f"Received: {path} of version {content['version']}."
        )
    _check(content, FIELDS, "A results file", path)
    for row in content["tasks"]:
        _check(row, TASK_FIELDS, "A task of results", path)
    for row in content["runs"]:
        _check(row, RUN_FIELDS, "A run of results", path)
    names = {row["name"] for row in content["tasks"]}
    for row in content["runs"]:
        if row["task"] not in names or not 0 <= row["accuracy"] <= 1:
            raise ValueError(
                "A run must be of one of the file's tasks, with an accuracy "
                f"in [0, 1]. Received: {row['task']!r} with "
                f"{row['accuracy']} in {path}."
            )
    runs = tuple(_run(row) for row in content["runs"])
    keys = [(r.task, r.method, r.repeat, r.run) for r in runs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(
            f"Each run must be there once. Received: {twice} twice in {path}."
        )
    return Results(
        content["suite"],
        tuple(
            SuiteTask(*(row[key] for key in TASK_FIELDS))
            for row in content["tasks"]
        ),
        runs,
        content["protocol"],
    )


def merge(parts: Sequence[Results]) -> Results:
    """Puts results of one suite together.

    Raises:
        ValueError: if they are of several suites, tasks or protocols, or have
            a run twice.
    """
    first = parts[0]
    for part in parts[1:]:
        if (part.suite, part.tasks) != (first.suite, first.tasks):
            raise ValueError(
                "Results to merge must be of one suite with the same tasks. "
                f"Received: {first.suite!r} and {part.suite!r}."
            )
        if part.protocol != first.protocol:
            raise ValueError(
                "Results to merge must be of one protocol. "
                f"Received: {first.protocol} and {part.protocol}."
            )
    runs = {
        (run.task, run.method, run.repeat, run.run): run
        for part in parts
        for run in part.runs
    }
    if len(runs) < sum(len(part.runs) for part in parts):
        raise ValueError(
            "Results to merge must not have runs in common. "
            f"Received: {sum(len(p.runs) for p in parts) - len(runs)} twice."
        )
    return Results(
        first.suite, first.tasks, tuple(runs.values()), first.protocol
    )


def _run(row: dict) -> Run:
    known = {key: row[key] for key in RUN_FIELDS}
    details = {key: row[key] for key in row if key not in RUN_FIELDS}
    return Run(**known, details=details)


def _check(row, fields: dict, what: str, path) -> None:
    for key, kind in fields.items():
        value = row.get(key) if isinstance(row, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            names = ", ".join(fields)
            raise ValueError(
                f"{what} must have {names}. "
                f"Received: {path}, with {key} {value!r}."
            )
