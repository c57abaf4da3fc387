"""Early elimination: most candidates are seen on a part of the task only.

All candidates begin on the same few images; those that fall behind are left
where they are, and the others go on to more images, up to all. Images come in
an order of chance in which each part has the classes' shares.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from keras_experts import config
from keras_experts.console import Bar
from keras_experts.console import progress
from keras_experts.selection.features import Features
from keras_experts.selection.folds import stratified_order
from keras_experts.selection.modules import Candidate
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import paired_test
from keras_experts.selection.strategies import FeatureStrategy

ERROR, BUDGET = "error", "budget"
MODES = (ERROR, BUDGET)
# Of mode "error": the first round, and how much larger the next ones are.
FIRST_EXAMPLES, GROWTH = 64, 2.0
# Of mode "budget": the first round's share of it, and how many times as many
# images the second has. Of eleven plans these had the least regret on six real
# tasks with 37 modules (benchmarks/racing.py).
FIRST_SHARE, SECOND_ROUND = 0.2, 3


@config.register
@dataclasses.dataclass(frozen=True)
class Racing:
    """How a race is run.

    Attributes:
        mode: str. "error": a candidate goes when a test finds it worse than
            the leader. "budget": the worst go, so many that the race keeps
            to its budget.
        error: float. Of mode "error" the probability, in (0, 1), that a
            candidate goes which is the best at the number of images of every
            round: the level of all tests together.
        budget: float. Of mode "budget" the share of all forward passes, in
            (0, 1], that may be spent.
        seed: int. Of the images' order.
    """

    mode: str = BUDGET
    error: float = 0.05
    budget: float = 0.25
    seed: int = 0

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(
                f"`mode` must be one of {MODES}. Received: {self.mode!r}."
            )
        if not 0 < self.error < 1:
            raise ValueError(
                f"`error` must be in (0, 1). Received: {self.error}."
            )
        if not 0 < self.budget <= 1:
            raise ValueError(
                f"`budget` must be in (0, 1]. Received: {self.budget}."
            )


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of a race.

    Attributes:
        examples: int. Images that its candidates have seen.
        candidates: int. How many took part.
        eliminated: list of str. Those that went after it, the best first.
    """

    examples: int
    candidates: int
    eliminated: list[str]


@dataclasses.dataclass(frozen=True)
class Race:
    """What a race did.

    Attributes:
        mode: str. As in Racing.
        limit: float. The error or the budget.
        rounds: list of Round.
        passes: int. Forward passes of the race, cached ones too.
        passes_exact: int. What all candidates on all images take.
    """

    mode: str
    limit: float
    rounds: list[Round]
    passes: int
    passes_exact: int

    @property
    def saved(self) -> float:
        """Share of the forward passes that were not needed."""
        return 1 - self.passes / self.passes_exact


@dataclasses.dataclass(frozen=True)
class Result:
    """A race with its last scores.

    Attributes:
        race: Race.
        scores: dict of handles to the Score on what each has seen.
        seconds: dict of handles to seconds.
        survivors: list of str. Handles that saw all images.
        unused: bool array `(n,)`. Images, in the task's order, by which no
            candidate was eliminated.
    """

    race: Race
    scores: dict[str, Score]
    seconds: dict[str, float]
    survivors: list[str]
    unused: np.ndarray


def race(
    strategy: FeatureStrategy,
    features: Features,
    candidates: Sequence[Candidate],
    indices: np.ndarray,
    labels: np.ndarray,
    racing: Racing,
    leave_out: Callable[[Candidate, str], None],
    task: str = "the task",
    groups: np.ndarray | None = None,
) -> Result:
    """Runs a race.

    Args:
        strategy: FeatureStrategy; in mode "error" one whose scores are means
            over examples.
        features: Features.
        candidates: Candidate, in the order to compute them.
        indices: int array `(n,)`. The task's images in the features.
        labels: int array `(n,)`.
        racing: Racing.
        leave_out: function of a candidate that the strategy cannot score, and
            the reason.
        task: str. Its name in the progress bar.
        groups: int array `(n,)`. As in `FeatureStrategy.score`.

    Returns:
        Result.

    Raises:
        ValueError: if the strategy has no scores of examples in mode "error".
    """
    # Those that failed on another task would only fail again.
    able = [c for c in candidates if c.handle not in features.failed]
    if groups is None:
        groups = np.arange(len(labels))
    run = _Run(
        *(strategy, features, able, indices, labels, groups, racing, leave_out)
    )
    with progress(f"racing on {task}", run.most_passes_left) as bar:
        while run.is_open:
            run.next_round(bar)
            bar.total = bar.done + run.most_passes_left
    return run.result()


def plan_rounds(
    racing: Racing, num_candidates: int, num_examples: int
) -> list[tuple[int, int]]:
    """Plans how many images each round has seen, for how many candidates.

    In mode "budget" there are three rounds: all candidates on a few images,
    some on three times as many, and half of these on all; where that is too
    dear for one, the race ends before. On real tasks it paid to let as many as
    possible see all images, for the last score is the one that is asked for.
    In mode "error" the number of candidates is their most.
    """
    if racing.mode == ERROR:
        sizes = [min(FIRST_EXAMPLES, num_examples)]
        while sizes[-1] * GROWTH < num_examples:
            sizes.append(int(sizes[-1] * GROWTH))
        if sizes[-1] < num_examples:
            sizes.append(num_examples)
        return [(size, num_candidates) for size in sizes]
    budget = int(racing.budget * num_candidates * num_examples)
    first = int(FIRST_SHARE * budget / num_candidates)
    first = min(max(first, 2), num_examples)
    plan = [(first, num_candidates)]
    left = budget - first * num_candidates
    second = min(SECOND_ROUND * first, num_examples)
    # Twice as many in the second round as in the last.
    dear = 2 * (second - first) + num_examples - second
    last = min(left // max(dear, 1), num_candidates)
    some = min(2 * last, num_candidates)
    if last < 1:  # what is left goes to the second round
        some = min(left // max(second - first, 1), num_candidates)
    for size, keep in ((second, some), (num_examples, last)):
        if keep >= 1 and size > plan[-1][0]:
            plan.append((size, keep))
    return plan


class _Run:
    """A race as it goes on."""

    def __init__(
        self,
        strategy,
        features,
        candidates,
        indices,
        labels,
        groups,
        racing,
        leave_out,
    ):
        self._strategy, self._features = strategy, features
        self._racing, self._leave_out = racing, leave_out
        order = stratified_order(labels, racing.seed)
        self._order = order
        self._indices, self._labels = indices[order], labels[order]
        self._task_groups, self._groups = groups, groups[order]
        self._plan = plan_rounds(racing, len(candidates), len(labels))
        self._exact = len(candidates) * len(labels)
        tests = len(self._plan) * max(1, len(candidates) - 1)
        self._level = racing.error / tests
        self._alive = candidates
        self._scores: dict[str, Score] = {}
        self._seconds = {c.handle: 0.0 for c in candidates}
        self._rounds: list[Round] = []
        self._passes = self._seen = 0

    @property
    def most_passes_left(self) -> int:
        """The number of forward passes if no other candidate is eliminated."""
        passes, seen = 0, self._seen
        for examples, keep in self._plan[len(self._rounds) :]:
            passes += min(keep, len(self._alive)) * (examples - seen)
            seen = examples
        return passes

    @property
    def is_open(self) -> bool:
        """Whether there is another round, and somebody to run it."""
        return bool(self._alive) and len(self._rounds) < len(self._plan)

    def next_round(self, bar: Bar) -> None:
        """Scores the remaining candidates on more images, drops the worst."""
        examples, _ = self._plan[len(self._rounds)]
        labels, groups = self._labels[:examples], self._groups[:examples]
        is_last = len(self._rounds) + 1 == len(self._plan)
        early = self._racing.mode == BUDGET and not is_last
        values: dict[str, float] = {}

        def on_ready(candidate, rows, taken):
            bar.advance(examples - self._seen)
            try:
                known = (rows, labels, candidate, groups)
                score = self._strategy.score(*known)
                value = score.value
                if early:
                    value = self._strategy.early_value(*known)
            except ValueError as error:
                self._scores.pop(candidate.handle, None)
                self._leave_out(candidate, str(error))
                return
            values[candidate.handle] = value
            if not is_last:
                score = dataclasses.replace(score, num_examples=examples)
            self._scores[candidate.handle] = score
            self._seconds[candidate.handle] += taken

        self._features.compute(self._alive, self._indices[:examples], on_ready)
        self._passes += len(self._alive) * (examples - self._seen)
        self._seen = examples
        alive = [c for c in self._alive if c.handle in values]
        # Equal ones stay in their order: baselines come first.
        alive.sort(key=lambda c: -values[c.handle])
        kept = self._keep(alive)
        gone = [c.handle for c in alive if c not in kept]
        self._rounds.append(Round(examples, len(alive), gone))
        self._alive = kept

    def _keep(self, alive: list[Candidate]) -> list[Candidate]:
        number = len(self._rounds) + 1
        if number == len(self._plan):
            return alive
        # The baseline stays: it is what the winner must beat.
        first = next((c for c in alive if c.is_baseline), None)
        if self._racing.mode == BUDGET:
            most = self._plan[number][1]
            if first in alive[:most]:
                return alive[:most]
            kept = alive[: max(most - (first is not None), 1)]
            return kept if first is None else [*kept, first]
        leader = self._scores[alive[0].handle] if alive else None
        return [
            candidate
            for candidate in alive
            if candidate is first
            or paired_test(leader, self._scores[candidate.handle]) > self._level
        ]

    def result(self) -> Result:
        """Gives the scores and what was done for them."""
        mode, failed = self._racing.mode, self._features.failed
        limit = getattr(self._racing, mode)  # of the same name as the mode
        return Result(
            Race(mode, limit, self._rounds, self._passes, self._exact),
            {
                handle: self._in_task_order(score)
                for handle, score in self._scores.items()
                if handle not in failed
            },
            self._seconds,
            [candidate.handle for candidate in self._alive],
            self._unused(),
        )

    def _unused(self) -> np.ndarray:
        """Returns whether each image had no part in an elimination."""
        used = [r.examples for r in self._rounds if r.eliminated]
        unused = np.ones(len(self._order), bool)
        unused[self._order[: max(used, default=0)]] = False
        return unused

    def _in_task_order(self, score: Score) -> Score:
        """Returns the score with its examples in the task's order."""
        values = score.per_example
        if values is None or len(values) < len(self._order):
            return score
        votes = score.votes and score.votes.placed(self._order)
        values = values[np.argsort(self._order)]
        return dataclasses.replace(
            score, per_example=values, votes=votes, groups=self._task_groups
        )
