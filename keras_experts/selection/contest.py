"""The candidates' scores for one task, as they come, and what follows."""

from pathlib import Path

import numpy as np

from keras_experts.console import say
from keras_experts.data.duplicates import duplicate_groups
from keras_experts.data.tasks import Task
from keras_experts.selection import ranking
from keras_experts.selection.features import Features
from keras_experts.selection.modules import Candidate
from keras_experts.selection.racing import Race
from keras_experts.selection.racing import Racing
from keras_experts.selection.racing import race
from keras_experts.selection.ranking import Selection
from keras_experts.selection.statistics import Score
from keras_experts.selection.strategies import Evidence
from keras_experts.selection.strategies import FeatureStrategy
from keras_experts.selection.together import try_together

# Copies that are named.
MOST_NAMED = 5


class Contest:
    """Scores candidates for a task.

    Args:
        task: Task.
        indices: int array `(n,)`. Where its training images are in `features`.
        features: Features.
        candidates: list of Candidate.
        networks: list of Candidate. Expert prediction networks.
    """

    def __init__(
        self,
        task: Task,
        indices: np.ndarray,
        features: Features,
        candidates: list[Candidate],
        networks: list[Candidate],
    ):
        groups = duplicate_groups(features.digests[indices])
        self.evidence = Evidence(
            task,
            groups,
            indices,
            features,
            candidates,
            networks,
            self._leave_out,
        )
        _say_copies(task, groups)
        _say_classes_of_copies(task, groups)
        self.scores: dict[str, Score] = {}
        self._seconds: dict[str, float] = {}
        self._left_out: dict[str, str] = {}
        self._race: Race | None = None
        self._survivors: list[str] | None = None
        self._unused: np.ndarray | None = None

    def score(
        self,
        strategy: FeatureStrategy,
        candidate: Candidate,
        rows: np.ndarray,
        seconds: float,
    ) -> None:
        """Scores a candidate by its features of all tasks' images."""
        known = self.evidence
        try:
            score = strategy.score(
                rows[known.indices], known.labels, candidate, known.groups
            )
        except ValueError as error:
            self._leave_out(candidate, str(error))
        else:
            self.scores[candidate.handle] = score
            self._seconds[candidate.handle] = seconds

    def race(
        self,
        strategy: FeatureStrategy,
        candidates: list[Candidate],
        racing: Racing,
    ) -> None:
        """Scores candidates on growing parts of the task."""
        known = self.evidence
        result = race(
            strategy,
            known.features,
            candidates,
            known.indices,
            known.labels,
            racing,
            self._leave_out,
            known.task.name,
            known.groups,
        )
        self._race, self._survivors = result.race, result.survivors
        self.scores, self._seconds = result.scores, result.seconds
        self._unused = result.unused

    def _leave_out(self, candidate: Candidate, reason: str) -> None:
        self._left_out[candidate.handle] = reason
        say(f"Left out {candidate.name}: {reason}")

    def finish(
        self, name: str, strategy, margin: float, combining: bool
    ) -> Selection:
        """Ranks what was scored, and picks."""
        known = self.evidence
        failed = {
            handle: reason
            for handle, reason in (
                *known.features.failed.items(),
                *self._left_out.items(),
            )
            # What failed on another task's images may be scored on these.
            if handle not in self.scores
        }
        if not self.scores:
            reason = next(iter(failed.values()), "")
            raise ValueError(
                "At least one module must work. Received: "
                f"{len(failed)} that failed, the first because: {reason}"
            )
        entries = ranking.rank(
            known.candidates,
            self.scores,
            self._seconds,
            len(known.indices),
            strategy.is_share,
            self._survivors,
        )
        working = (
            candidate.handle
            for candidate in known.candidates
            if candidate.is_baseline and candidate.handle not in failed
        )
        best = ranking.pick(entries, known.candidates, margin)
        together = try_together(known, entries) if combining else None
        return Selection(
            known.task.name,
            len(known.indices),
            name,
            # Of strategies that do not score baselines, any that works.
            ranking.reference(known.candidates, self.scores)
            or next(iter(working), None),
            best,
            entries,
            [{"module": m, "reason": reason} for m, reason in failed.items()],
            strategy.title,
            strategy.is_share,
            margin,
            int(known.features.embedded[known.indices].sum()),
            int(known.features.cached[known.indices].sum()),
            self._race,
            together,
            known.task.test.num_examples,
            ranking.lead_of(
                best,
                entries,
                known.candidates,
                self.scores,
                margin,
                self._unused,
            ),
            known.task.medium,
            num_duplicates=len(known.groups) - len(np.unique(known.groups)),
        )

    def write_report(self, path: str | Path, selection: Selection) -> None:
        """Writes the page that shows the selection."""
        from keras_experts.selection import report

        known = self.evidence
        report.write_report(
            path,
            selection,
            known.task,
            known.features,
            known.indices,
            known.candidates,
            self.scores,
            known.groups,
        )


def _say_copies(task: Task, groups: np.ndarray) -> None:
    """Reports the examples that are exact copies of others, in one line."""
    copies = np.flatnonzero(groups != np.arange(len(groups)))
    if not len(copies):
        return
    name = task.train.name
    pairs = [
        f"{name(groups[row])} = {name(row)}" for row in copies[:MOST_NAMED]
    ]
    pairs += ["..."] if len(copies) > MOST_NAMED else []
    noun = "copy" if len(copies) == 1 else "copies"
    text = (
        f"{task.name}: {len(copies)} exact {noun} of other {task.medium} "
        f"({', '.join(pairs)}); copies are not each other's neighbors"
    )
    labels = task.train.labels
    others = np.count_nonzero(labels[copies] != labels[groups[copies]])
    if others:
        text += f"; labels differ from those of the first: {others}"
    say(text)


def _say_classes_of_copies(task: Task, groups: np.ndarray) -> None:
    """Reports the classes whose examples are all copies of one.

    Such an example has no neighbor of its class, as if it were the only one.
    """
    num_classes = len(task.class_names)
    labels = task.train.labels
    different = np.unique(np.stack([groups, labels], axis=1), axis=0)[:, 1]
    single = np.bincount(different, minlength=num_classes) == 1
    several = np.bincount(labels, minlength=num_classes) > 1
    names = [task.class_names[i] for i in np.flatnonzero(single & several)]
    if names:
        say(
            f"{task.name}: leave-one-out accuracy counts classes as wrong "
            f"whose examples are all copies of one: {', '.join(names)}"
        )
