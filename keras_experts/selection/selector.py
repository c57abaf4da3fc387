"""The selection of an expert for a task."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.selection.embeddings import embed
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import expand
from keras_experts.selection.neighbors import leave_one_out_correct

STRATEGIES = ("knn",)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One module's place in a ranking.

    Attributes:
        module: str. Path or URL.
        expert: str. Name.
        score: float. Leave-one-out accuracy, in [0, 1].
        standard_error: float. Of the score over examples.
        seconds: float. For loading and embedding.
    """

    module: str
    expert: str
    score: float
    standard_error: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Selection:
    """The result of `select`.

    Attributes:
        task: str.
        num_examples: int. Examples that were embedded.
        strategy: str.
        baseline: str or None. Module of the pool's baseline.
        ranking: list of Entry, best first.
        skipped: list of dicts of `module` and `reason`.
    """

    task: str
    num_examples: int
    strategy: str
    baseline: str | None
    ranking: list[Entry]
    skipped: list[dict[str, str]]

    @property
    def best(self) -> Entry:
        """The first of the ranking."""
        return self.ranking[0]

    def to_json(self) -> dict:
        """Gives the content of `selection.json`."""
        content = dataclasses.asdict(self)
        ranking, skipped = content.pop("ranking"), content.pop("skipped")
        best = self.best.module
        return {**content, "best": best, "ranking": ranking, "skipped": skipped}


def select(
    task: str | Path | Task,
    experts: Sequence[str | Path],
    strategy: str = "knn",
    num_examples: int = 1000,
    data_dir: str | None = None,
    trust: bool = False,
) -> Selection:
    """Ranks experts by how well their features fit a task.

    Args:
        task: TFDS name, folder of images, path of an .npz, or a Task.
        experts: collections, module folders, URLs or pool files.
        strategy: str. "knn": leave-one-out accuracy of the nearest neighbour.
        num_examples: int. Training examples to embed, at most.
        data_dir: str. The folder of TFDS data sets, or None.
        trust: bool. Whether to load modules whose graphs read or write files,
            or run Python.

    Returns:
        Selection. A module that fails is in `skipped`, with its reason.

    Raises:
        FileNotFoundError: if the task or a module is not there.
        ValueError: if the task is not fit for the strategy, or every module
            failed.

    References:
        Section 5 of the paper.
    """
    if strategy not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {STRATEGIES}. Received: {strategy!r}."
        )
    candidates = expand(experts)
    if not isinstance(task, Task):
        task = load_task(task, data_dir, num_examples)
    images = task.train.take(num_examples)
    labels = images.labels
    task.check_classes(labels)
    ranking, skipped = [], []
    total = len(candidates) * images.num_examples
    with progress(f"embedding {task.name}", total) as bar:
        for candidate in candidates:
            before = bar.done
            try:
                ranking.append(_score(candidate, images, labels, bar, trust))
            except (OSError, ValueError) as error:
                reason = str(error)
                skipped.append({"module": candidate.handle, "reason": reason})
                say(f"Left out {candidate.name}: {reason}")
            bar.advance(before + images.num_examples - bar.done)
    if not ranking:
        raise ValueError(
            "At least one module must work. Received: "
            f"{len(skipped)} that failed, the first because: "
            f"{skipped[0]['reason']}"
        )
    baselines = [c.handle for c in candidates if c.is_baseline]
    ranking.sort(
        key=lambda entry: (-entry.score, entry.module not in baselines)
    )
    return Selection(
        task.name,
        images.num_examples,
        strategy,
        baselines[0] if baselines else None,
        ranking,
        skipped,
    )


def _score(
    candidate: Candidate, images, labels: np.ndarray, bar, trust: bool
) -> Entry:
    started = time.monotonic()
    features = embed(candidate.handle, images, bar, trust)
    correct = leave_one_out_correct(features, labels)
    score = float(correct.mean())
    error = float(np.sqrt(score * (1 - score) / len(correct)))
    seconds = round(time.monotonic() - started, 2)
    return Entry(candidate.handle, candidate.name, score, error, seconds)
