"""Suites: the tasks of an evaluation, and how each is split.

Hyperparameters are chosen with the images of `tuning`, which holds none of the
test set. `final` trains on all and tests.
"""

import dataclasses
import re
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.data import vtab
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.evaluation.results import SuiteTask
from keras_experts.evaluation.statistics import ALL

ACCURACY, MEAN_PER_CLASS = "accuracy", "mean_per_class"
METRICS = (ACCURACY, MEAN_PER_CLASS)
# Of the images without the test set, those to choose by.
VALIDATION_SHARE = 0.2
COLUMN_KEYS = ("text_column", "label_column")
TASK_KEYS = {"task", "name", "group", "metric", "num_examples", *COLUMN_KEYS}


@dataclasses.dataclass(frozen=True)
class SuiteEntry:
    """One task of a suite.

    Attributes:
        name: str.
        group: str.
        metric: str. "accuracy" or "mean_per_class".
        task: str. As `load_task` takes it; None for the task of that name of
            VTAB.
        num_examples: int. Images without the test set, at most; None for all.
        text_column: str. As in `load_task`.
        label_column: str. As in `load_task`.
    """

    name: str
    group: str
    metric: str = ACCURACY
    task: str | None = None
    num_examples: int | None = 1000
    text_column: str | None = None
    label_column: str | None = None

    @property
    def described(self) -> SuiteTask:
        """What results say of it."""
        return SuiteTask(self.name, self.group, self.metric)

    @property
    def dataset(self) -> str:
        """What the task is made from, as TFDS names it."""
        return self.task or vtab.TASKS[self.name].dataset

    def tuning(self, data_dir: str | None) -> Task:
        """Gives training images, and others to choose by as the test ones.

        Raises:
            FileNotFoundError: if the data are not there.
            ValueError: if they are not fit.
        """
        if self.task is None:
            return vtab.TASKS[self.name].load(data_dir, final=False)
        images = self._load(data_dir).train
        kept = images.num_examples - _validation_size(images)
        return Task(
            self.name,
            images.take(kept),
            images.subset(np.arange(kept, images.num_examples)),
        )

    def final(self, data_dir: str | None) -> Task:
        """Gives all training images, and the test images.

        Raises:
            ValueError: if there are none of the latter.
        """
        if self.task is None:
            return vtab.TASKS[self.name].load(data_dir, final=True)
        task = self._load(data_dir)
        if not task.test.num_examples:
            raise ValueError(
                f"A task to evaluate must have test images. "
                f"Received: {self.name} without."
            )
        return dataclasses.replace(task, name=self.name)

    def _load(self, data_dir: str | None) -> Task:
        columns = (self.text_column, self.label_column)
        return load_task(self.task, data_dir, self.num_examples, *columns)


@dataclasses.dataclass(frozen=True)
class Suite:
    """Tasks that are evaluated together.

    Attributes:
        name: str.
        entries: tuple of SuiteEntry.
    """

    name: str
    entries: tuple[SuiteEntry, ...]


VTAB = Suite(
    "vtab1k",
    tuple(SuiteEntry(task.name, task.group) for task in vtab.TASKS.values()),
)
# Ngiam et al. (2018); the metric of each is that of the paper's table 3. TFDS
# 4.9.10 has no aircraft: `fgvc_aircraft` is a set of one's own of that name.
DAT = Suite(
    "dat",
    tuple(
        SuiteEntry(name, "dat", metric, task, None)
        for name, metric, task in (
            ("aircraft", ACCURACY, "fgvc_aircraft"),
            ("birds", ACCURACY, "caltech_birds2011"),
            ("cars", ACCURACY, "cars196"),
            ("cifar10", ACCURACY, "cifar10"),
            ("food", ACCURACY, "food101"),
            ("pets", MEAN_PER_CLASS, "oxford_iiit_pet:4.*.*"),
        )
    ),
)
SUITES = {suite.name: suite for suite in (VTAB, DAT)}


def load_suite(name: str) -> Suite:
    """Gives a suite of ours by its name, or reads one from a file.

    A file is JSON: `name`, and `tasks`, each with a `task` (as `select` takes
    it; paths are relative to the file) and, if wanted, a `name`, a `group`, a
    `metric` and `num_examples` (null for all).

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: if the file is not like that.
    """
    if name in SUITES:
        return SUITES[name]
    path = Path(name).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"A suite must be one of {', '.join(SUITES)} or a JSON file. "
            f"Received: {name!r}."
        )
    content = files.read_json(path)
    if not (
        isinstance(content, dict)
        and isinstance(content.get("name"), str)
        and isinstance(content.get("tasks"), list)
        and content["tasks"]
    ):
        raise ValueError(
            "A suite file must have a `name` and a list of `tasks`. "
            f"Received: {path} without."
        )
    entries = tuple(_entry(row, path) for row in content["tasks"])
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError(
            "The tasks of a suite must have different names. "
            f"Received: {', '.join(sorted(names))} in {path}."
        )
    return Suite(content["name"], entries)


def _entry(row: object, path: Path) -> SuiteEntry:
    if not isinstance(row, dict) or not isinstance(row.get("task"), str):
        raise ValueError(
            "A task of a suite must have a `task`. "
            f"Received: {row!r} in {path}."
        )
    beside = path.parent / row["task"]
    is_here = beside.exists()
    # Of a TFDS name what stands before the version.
    named = Path(row["task"]).stem if is_here else row["task"].split(":")[0]
    name = row.get("name", named.replace("/", "_"))
    group, number = row.get("group", "tasks"), row.get("num_examples", 1000)
    metric = row.get("metric", ACCURACY)
    columns = {key: row[key] for key in COLUMN_KEYS if key in row}
    is_fit = (
        not row.keys() - TASK_KEYS
        and metric in METRICS
        and all(isinstance(t, str) for t in (name, group, *columns.values()))
        and re.fullmatch(r"\w[\w.-]*", name)
        and group != ALL
        and (number is None or (type(number) is int and number > 0))
    )
    if not is_fit:
        raise ValueError(
            f"A task of a suite has {', '.join(sorted(TASK_KEYS))}: its name "
            "is of letters, digits and _.-, its group a text but 'all', its "
            "columns texts, its "
            f"metric one of {', '.join(METRICS)}, its num_examples a positive "
            f"number or null. Received: {row!r} in {path}."
        )
    task = str(beside) if is_here else row["task"]
    return SuiteEntry(name, group, metric, task, number, **columns)


def _validation_size(images: LabeledImages) -> int:
    size = round(VALIDATION_SHARE * images.num_examples)
    if not 1 <= size < images.num_examples - 1:
        raise ValueError(
            "A task must have images to train on and to choose by. "
            f"Received: {images.num_examples}."
        )
    return size
