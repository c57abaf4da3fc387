"""The selection of an expert for a task."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts.checks import as_list
from keras_experts.checks import check_at_least
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.data.class_summary import say_classes
from keras_experts.data.labeled_images import concatenate
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.random_state import callers_random_state
from keras_experts.selection.contest import Contest
from keras_experts.selection.features import Features
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import Named
from keras_experts.selection.modules import by_cost
from keras_experts.selection.modules import expand
from keras_experts.selection.modules import prediction_networks
from keras_experts.selection.names import rename_apart
from keras_experts.selection.next_command import with_next_command
from keras_experts.selection.racing import Racing
from keras_experts.selection.ranking import Selection
from keras_experts.selection.registry import make_strategy
from keras_experts.selection.strategies import FeatureStrategy

# Of larger pools most candidates see a part of the task alone, where it has so
# many images: fewer tell too little, and cost little.
EXACT_CANDIDATES, RACED_EXAMPLES = 32, 500


def select(
    task: str | Path | Task, experts: Sequence[Named], *args, **kwargs
) -> Selection:
    """Ranks experts by how well they fit a task, and picks one.

    Args:
        task: TFDS name, folder of images, path of an .npz, or a Task.
        experts: as in `expand`.
        *args: as in `select_many`.
        **kwargs: as in `select_many`.

    Returns:
        Selection.

    References:
        Section 5 of the paper.
    """
    return select_many([task], experts, *args, **kwargs)[0]


@callers_random_state()
def select_many(
    tasks: Sequence[str | Path | Task],
    experts: Sequence[Named],
    strategy="knn",
    num_examples: int = 1000,
    data_dir: str | None = None,
    trust: bool = False,
    margin: float = 0.0,
    racing: Racing | str = "auto",
    cache: bool = True,
    time_limit: float | None = None,
    processes: int = 1,
    report: str | Path | None = None,
    combining: bool = False,
    beam: Sequence[str] | None = None,
    beam_folder: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> list[Selection]:
    """Ranks experts for several tasks in one pass over the modules.

    Args:
        tasks: as the task of `select`.
        experts: as in `expand`.
        strategy: str, a name of `STRATEGIES`; or an instance of one. "knn":
            leave-one-out accuracy of the nearest neighbour.
        num_examples: int. Training examples of a task, at most.
        data_dir: str. The folder of TFDS data sets, or None.
        trust: bool. Whether to load modules whose graphs read or write files,
            or run Python.
        margin: float, finite. The baseline is kept unless an expert's score
            is better by more than this; the paper's is 0.
        racing: Racing, "off", or "auto": one within a budget for pools of
            more than 32 candidates and tasks of 500 images or more, unless
            all features are in the cache.
        cache: bool. Whether to use and keep features of other selections.
        time_limit: float. Seconds a module may take for a batch, in a process
            that is killed where it takes longer; None for this process.
        processes: int. Modules at a time; more than one needs `time_limit`.
        report: path of a page to write, for one task; or None.
        combining: bool. Whether to look for several experts whose features
            together are better than the best one's.
        beam: options of an Apache Beam runner, such as "runner=DirectRunner",
            to score with it; or None. It uses no cache and races nothing.
        beam_folder: str. As the folder of `score_with_beam`.
        text_column: str. As in `load_task`.
        label_column: str. As in `load_task`.

    Returns:
        list of Selection. A module that fails is in `skipped`, with its
        reason.

    Raises:
        FileNotFoundError: if a task or a module is not there.
        ValueError: if a number is out of its range, a task is not fit for the
            strategy, or every module failed.
    """
    tasks, experts = as_list(tasks), as_list(experts)
    if report is not None and len(tasks) != 1:
        raise ValueError(
            f"A report is of one task. Received: {len(tasks)} tasks."
        )
    if not math.isfinite(margin):
        raise ValueError(f"`margin` must be finite. Received: {margin}.")
    check_at_least(num_examples=(num_examples, 2), processes=(processes, 1))
    if time_limit is not None and not time_limit > 0:
        raise ValueError(
            f"`time_limit` must be above 0. Received: {time_limit}."
        )
    scorer = make_strategy(strategy)
    name = strategy if isinstance(strategy, str) else type(scorer).__name__
    skipped: dict[str, str] = {}
    candidates = expand(experts, skipped)
    for module, reason in skipped.items():
        say(f"Skipped {module}: {reason}")
    columns = {"text_column": text_column, "label_column": label_column}
    opened = [_open(task, data_dir, num_examples, columns) for task in tasks]
    places = ["" if isinstance(t, Task) else str(t) for t in tasks]
    opened = rename_apart(opened, places)
    images = concatenate([task.train for task in opened])
    fewest = min(task.train.num_examples for task in opened)
    with Features(images, cache, trust, time_limit, processes) as features:
        features.failed.update(skipped)
        racing = _racing(racing, scorer, features, candidates, fewest)
        contests = _contests(opened, features, candidates, experts)
        if beam is not None:
            _score_with_beam(
                contests, scorer, beam, trust, beam_folder, time_limit
            )
        else:
            _score_all(contests, scorer, features, by_cost(candidates), racing)
        selections = [
            with_next_command(
                contest.finish(name, scorer, margin, combining),
                candidates,
                _task_flags(task, data_dir, trust, columns),
            )
            for contest, task in zip(contests, tasks, strict=True)
        ]
        if report is not None:
            contests[0].write_report(report, selections[0])
    return selections


def _open(
    task: str | Path | Task,
    data_dir: str | None,
    num_examples: int,
    columns: dict[str, str | None],
) -> Task:
    if not isinstance(task, Task):
        task = load_task(task, data_dir, num_examples, **columns)
    task = dataclasses.replace(task, train=task.train.take(num_examples))
    say_classes(task)
    return task


def _task_flags(
    task: str | Path | Task,
    data_dir: str | None,
    trust: bool,
    columns: dict[str, str | None],
) -> list[str]:
    """Returns the flags by which other commands find the task."""
    if isinstance(task, Task):
        return ["--task", task.name]
    flags = ["--task", str(task)]
    flags += ["--data_dir", str(data_dir)] if data_dir else []
    for name, column in columns.items():
        flags += [f"--{name}", column] if column else []
    return [*flags, "--trust"] if trust else flags


def _racing(
    racing: Racing | str,
    scorer,
    features: Features,
    candidates: list[Candidate],
    num_examples: int,
) -> Racing | None:
    """Gives the race to run; `num_examples` is that of the smallest task."""
    if isinstance(racing, Racing):
        if not isinstance(scorer, FeatureStrategy):
            raise ValueError(
                "A race needs a strategy that scores features. "
                f"Received: {type(scorer).__name__}."
            )
        return racing
    if racing not in ("auto", "off"):
        raise ValueError(
            f'`racing` must be a Racing, "auto" or "off". Received: {racing!r}.'
        )
    if racing == "off" or not isinstance(scorer, FeatureStrategy):
        return None
    is_small = (
        len(candidates) <= EXACT_CANDIDATES or num_examples < RACED_EXAMPLES
    )
    if is_small or features.has_all(candidates):
        return None  # a race would save little, or nothing
    return Racing()


def _contests(
    tasks: list[Task],
    features: Features,
    candidates: list[Candidate],
    experts: Sequence[Named],
) -> list["Contest"]:
    networks = prediction_networks(experts)
    contests = []
    start = 0
    for task in tasks:
        indices = np.arange(start, start + task.train.num_examples)
        contests.append(Contest(task, indices, features, candidates, networks))
        start += task.train.num_examples
    return contests


def _score_all(
    contests: list["Contest"],
    scorer,
    features: Features,
    candidates: list[Candidate],
    racing: Racing | None,
) -> None:
    if not isinstance(scorer, FeatureStrategy):
        for contest in contests:
            contest.scores = scorer.scores(contest.evidence)
        return
    if racing is not None:
        for contest in contests:
            contest.race(scorer, candidates, racing)
        return
    number = features.images.num_examples
    names = ", ".join(contest.evidence.task.name for contest in contests)
    with progress(f"embedding {names}", len(candidates) * number) as bar:

        def on_ready(candidate, rows, seconds):
            for contest in contests:
                contest.score(scorer, candidate, rows, seconds)

        features.compute(candidates, np.arange(number), on_ready, bar)


def _score_with_beam(
    contests, scorer, options, trust, folder, time_limit
) -> None:
    try:
        from keras_experts.selection.beam import score_with_beam
    except ImportError as error:
        raise ValueError(
            "Scoring with Beam needs the extra `beam` "
            f"(pip install 'keras_experts[beam]'). Received: {error}."
        ) from error
    if not isinstance(scorer, FeatureStrategy):
        raise ValueError(
            "Beam needs a strategy that scores features. "
            f"Received: {type(scorer).__name__}."
        )
    evidence = contests[0].evidence
    tasks = [
        (c.evidence.indices, c.evidence.labels, c.evidence.groups)
        for c in contests
    ]
    scores, unfit, failed = score_with_beam(
        scorer,
        evidence.features.images,
        tasks,
        evidence.candidates,
        options,
        trust,
        folder,
        time_limit,
    )
    features = evidence.features
    features.failed.update(failed)
    working = len(evidence.candidates) - len(failed)
    features.embedded += working
    by_handle = {c.handle: c for c in evidence.candidates}
    for contest, found, reasons in zip(contests, scores, unfit, strict=True):
        contest.scores = found
        for handle, reason in reasons.items():
            contest.evidence.leave_out(by_handle[handle], reason)
