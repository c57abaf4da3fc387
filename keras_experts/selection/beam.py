"""The same scores from an Apache Beam pipeline: modules x shards of images.

Workers read the images from a folder that all of them see, load a module once
in each process, and send features on to where a candidate's shards meet.
"""

import dataclasses
import json
import threading
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.io import WriteToText
from apache_beam.ml.inference.base import ModelHandler
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options import SetupOptions

from keras_experts import files
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.saved_models import references
from keras_experts.selection.feature_checks import check_varied
from keras_experts.selection.features import FAILURES
from keras_experts.selection.fingerprints import describe
from keras_experts.selection.modules import Candidate
from keras_experts.selection.statistics import Score
from keras_experts.selection.strategies import FeatureStrategy
from keras_experts.selection.votes import Votes
from keras_experts.selection.worker import Worker
from keras_experts.selection.worker import read_images
from keras_experts.selection.worker import write_images

SHARD_IMAGES = 250
# Of one module in one process: more would not pass between processes.
PARTS_AT_ONCE = 16
# Processes for modules that runners of this process have begun, by the folder
# of their images: Beam keeps models, and has no place to end them.
_begun: dict[str, list[Worker]] = {}


@dataclasses.dataclass(frozen=True)
class Work:
    """Some images through some parts of one module.

    Attributes:
        candidates: of one SavedModel.
        start: int. The first image.
        stop: int. The one after the last.
    """

    candidates: tuple[Candidate, ...]
    start: int
    stop: int


class ModulesHandler(ModelHandler):
    """Loads whatever modules a worker is given, and runs images through.

    Beam's own handlers are of one model each, and load SavedModels with
    `tf.keras.models.load_model`, which Keras 3 does not.

    Args:
        folder: where `write_images` put the images.
        trust: bool. As in `load_module`.
        time_limit: float. As in `Worker`, or None for none.
    """

    def __init__(self, folder: str, trust: bool, time_limit: float | None):
        super().__init__()
        self._folder = folder
        self._trust = trust
        self._time_limit = time_limit

    def load_model(self) -> "_Modules":
        images = read_images(Path(self._folder))
        if self._time_limit is not None:
            worker = Worker(images, self._trust, self._time_limit)
            _begun.setdefault(self._folder, []).append(worker)
            return _Modules(worker, images.medium)
        from keras_experts.selection.embeddings import Embedder

        return _Modules(Embedder(images, self._trust), images.medium)

    def batch_elements_kwargs(self) -> dict[str, int]:
        return {"min_batch_size": 1, "max_batch_size": 1}

    def run_inference(
        self, batch: Sequence[Work], model, inference_args=None
    ) -> Iterator[list]:
        for work in batch:
            # A process with several threads has one model for all of them.
            with model.lock:
                found = list(model.run(work))
            yield found


class _Modules:
    """Runs images through modules, in this process or one beside it."""

    def __init__(self, embedder, medium: str):
        self._embedder = embedder
        self._medium = medium
        self._failed: dict[tuple[Candidate, ...], str] = {}
        self.lock = threading.Lock()

    def run(self, work: Work) -> Iterator[tuple[str, tuple]]:
        """Gives of each candidate places of images and rows, or a reason."""
        try:
            if work.candidates not in self._failed:
                yield from self._rows(work)
        except FAILURES as error:
            # Its other images would take as long to fail.
            self._failed[work.candidates] = str(error)
        if work.candidates in self._failed:
            for candidate in work.candidates:
                reason = self._failed[work.candidates]
                yield candidate.handle, (reason, None)

    def _rows(self, work: Work) -> Iterator[tuple[str, tuple]]:
        memo = files.cache_folder() / "fingerprints"
        described = [describe(c, memo, self._medium) for c in work.candidates]
        names = {
            d.part: c.handle
            for d, c in zip(described, work.candidates, strict=True)
        }
        images = np.arange(work.start, work.stop)
        batches = self._embedder.features(
            described[0].source, list(names), images
        )
        for indices, part, rows in batches:
            if isinstance(rows, ValueError):
                yield names[part], (str(rows), None)
            else:
                yield names[part], (indices, rows)


def score_with_beam(
    strategy: FeatureStrategy,
    images: LabeledImages,
    tasks: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    candidates: Sequence[Candidate],
    options: Iterable[str],
    trust: bool = False,
    folder: str | None = None,
    time_limit: float | None = None,
) -> tuple[list[dict[str, Score]], list[dict[str, str]], dict[str, str]]:
    """Scores candidates on several tasks.

    Args:
        strategy: FeatureStrategy.
        images: LabeledImages of all tasks.
        tasks: for each, int arrays `(n,)`: its images, their labels, and
            their groups as in `FeatureStrategy.score`.
        candidates: Candidate; no functions, which other machines have not.
        options: of the runner, as "direct_num_workers=2".
        trust: bool. As in `load_module`.
        folder: where images and scores pass through, which all workers see by
            this path; or None for a temporary one of this machine.
        time_limit: float. As in `select_many`.

    Returns:
        Of each task the scores by handle, and why the strategy could not
        score others; and why others failed on all tasks.

    Raises:
        ValueError: if a candidate is a function.
    """
    for candidate in candidates:
        if candidate.function is not None:
            raise ValueError(
                "Beam's workers need modules they can load. "
                f"Received: the function {candidate.name}."
            )
    pipeline_options = PipelineOptions([f"--{option}" for option in options])
    pipeline_options.view_as(SetupOptions).save_main_session = False
    by_handle = {candidate.handle: candidate for candidate in candidates}
    with files.temporary_folder(folder) as passing:
        write_images(images, passing)
        handler = ModulesHandler(str(passing), trust, time_limit)
        scoring = _Scoring(strategy, tasks, by_handle)
        try:
            with beam.Pipeline(options=pipeline_options) as pipeline:
                _ = (
                    pipeline
                    | beam.Create(_work(candidates, images.num_examples))
                    | beam.Reshuffle()
                    | RunInference(handler)
                    | beam.FlatMap(list)
                    | beam.GroupByKey()
                    | beam.MapTuple(scoring)
                    | WriteToText(str(passing / "scores"))
                )
        finally:
            for worker in _begun.pop(str(passing), []):
                worker.close()
        return _read(passing, tasks)


def _work(candidates: Sequence[Candidate], num_images: int) -> list[Work]:
    groups: dict[tuple, list[Candidate]] = {}
    for c in candidates:
        key = (references.split(c.handle)[0], c.image_size, c.input_range)
        groups.setdefault(key, []).append(c)
    return [
        Work(
            tuple(group[first : first + PARTS_AT_ONCE]),
            start,
            min(start + SHARD_IMAGES, num_images),
        )
        for group in groups.values()
        for first in range(0, len(group), PARTS_AT_ONCE)
        for start in range(0, num_images, SHARD_IMAGES)
    ]


class _Scoring:
    """Scores a candidate whose shards have met; gives a line of JSON."""

    def __init__(self, strategy, tasks, candidates: dict[str, Candidate]):
        self._strategy = strategy
        self._tasks = tasks
        self._candidates = candidates

    def __call__(self, handle: str, parts: Iterable[tuple]) -> str:
        parts = list(parts)
        reasons = [reason for reason, rows in parts if rows is None]
        if reasons:
            return json.dumps({"module": handle, "reason": reasons[0]})
        places = np.concatenate([indices for indices, _ in parts])
        features = np.concatenate([rows for _, rows in parts])
        features = features[np.argsort(places)]
        candidate = self._candidates[handle]
        try:
            check_varied(candidate, features)
        except ValueError as error:
            return json.dumps({"module": handle, "reason": str(error)})
        rows = [
            self._of_task(features[indices], labels, groups, candidate)
            for indices, labels, groups in self._tasks
        ]
        return json.dumps({"module": handle, "tasks": rows})

    def _of_task(self, features, labels, groups, candidate) -> dict:
        try:
            score = self._strategy.score(features, labels, candidate, groups)
        except ValueError as error:
            return {"reason": str(error)}
        rows, votes = score.per_example, score.votes
        return {
            "value": score.value,
            "per_example": None if rows is None else rows.tolist(),
            "votes": votes and [votes.k, votes.neighbors.tolist()],
        }


def _read(folder: Path, tasks: Sequence[tuple]):
    scores: list[dict[str, Score]] = [{} for _ in tasks]
    unfit: list[dict[str, str]] = [{} for _ in tasks]
    failed: dict[str, str] = {}
    for path in sorted(folder.glob("scores*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "reason" in row:
                failed[row["module"]] = row["reason"]
                continue
            for index, told in enumerate(row["tasks"]):
                if "reason" in told:
                    unfit[index][row["module"]] = told["reason"]
                    continue
                _, labels, groups = tasks[index]
                scores[index][row["module"]] = _score(told, labels, groups)
    return scores, unfit, failed


def _score(told: dict, labels: np.ndarray, groups: np.ndarray) -> Score:
    rows, votes = told["per_example"], told["votes"]
    if votes is not None:
        k, neighbors = votes
        votes = Votes(np.array(neighbors, np.int32), labels, k)
    rows = None if rows is None else np.array(rows)
    return Score(told["value"], rows, votes=votes, groups=groups)
