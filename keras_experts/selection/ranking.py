"""From scores to a ranking, and to the one to fine-tune."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from keras_experts.mediums import IMAGES
from keras_experts.saved_models.keras_files import UNIT_RANGE
from keras_experts.selection import statistics
from keras_experts.selection.conclusion import Conclusion
from keras_experts.selection.conclusion import conclude
from keras_experts.selection.leads import Lead
from keras_experts.selection.leads import weigh_lead
from keras_experts.selection.modules import Candidate
from keras_experts.selection.racing import Race
from keras_experts.selection.statistics import Score


@dataclasses.dataclass(frozen=True)
class Entry:
    """One module's place in a ranking.

    Attributes:
        module: str. Path or URL.
        expert: str. Name.
        score: float. The higher the better; of "knn" and the proxies an
            accuracy, in [0, 1].
        standard_error: float. Of the score over examples; None where it is
            no mean over them.
        seconds: float. For loading and embedding.
        interval: list of two floats. 95 % of the score, or None.
        over_baseline: float. Score less the baseline's, or None.
        over_baseline_error: float. Standard error of that difference, over
            pairs of examples; or None.
        chance: float. How often it would be the best one if the task's
            examples were drawn again (paired bootstrap); or None.
        examples: int. Examples it was scored on; fewer than all where it was
            eliminated before.
        image_size: int. Side of the images that the pool gives it, in pixels,
            or None for the module's own.
        input_range: two floats. Values of black and white that it was fed.
    """

    module: str
    expert: str
    score: float
    standard_error: float | None
    seconds: float
    interval: list[float] | None
    over_baseline: float | None
    over_baseline_error: float | None
    chance: float | None
    examples: int
    image_size: int | None = None
    input_range: tuple[float, float] = UNIT_RANGE


@dataclasses.dataclass(frozen=True)
class Selection:
    """The result of `select`.

    Attributes:
        task: str.
        num_examples: int. Examples of the task that were used.
        strategy: str. Name.
        baseline: str or None. Module of the pool's baseline.
        best: Entry. What to fine-tune.
        ranking: list of Entry, best score first; what was eliminated in a
            race comes after what was not.
        skipped: list of dicts of `module` and `reason`.
        title: str. What the score is.
        is_share: bool. Whether scores are shares of examples.
        margin: float. By how much an expert had to beat the baseline.
        computed: int. Forward passes of this task's images, one image through
            one candidate.
        cached: int. Forward passes of this task's images that features of
            earlier selections saved.
        race: Race or None. What was eliminated when.
        combination: dict or None. What experts can do together, as of
            `try_together`.
        num_test: int. Images of the task that are kept to test, and were not
            looked at.
        lead: Lead or None. What the picked expert's gain over the baseline is
            worth; None where the baseline is kept or was not scored.
        medium: str. What the examples are, "images" or "texts".
        next_command: str or None. The command that fine-tunes the recommended
            module; None if that is a function.
        num_duplicates: int. Images that are exact copies of others.
    """

    task: str
    num_examples: int
    strategy: str
    baseline: str | None
    best: Entry
    ranking: list[Entry]
    skipped: list[dict[str, str]]
    title: str = ""
    is_share: bool = True
    margin: float = 0.0
    computed: int = 0
    cached: int = 0
    race: Race | None = None
    combination: dict | None = None
    num_test: int = 0
    lead: Lead | None = None
    medium: str = IMAGES
    next_command: str | None = None
    num_duplicates: int = 0

    @property
    def conclusion(self) -> Conclusion:
        """The conclusion in words, and the recommended module."""
        return conclude(self)

    def to_json(self) -> dict:
        """Returns the content of `selection.json`."""
        content = dataclasses.asdict(self)
        content["best"] = self.best.module
        content["recommended"] = self.conclusion.recommended
        content["conclusion"] = self.conclusion.text
        return content


def rank(
    candidates: Sequence[Candidate],
    scores: Mapping[str, Score],
    seconds: Mapping[str, float],
    num_examples: int,
    is_share: bool,
    survivors: Sequence[str] | None = None,
) -> list[Entry]:
    """Orders candidates by their scores.

    Equal scores: baselines first, then the order given.

    Args:
        candidates: Candidate.
        scores: by handle; those without one are left out.
        seconds: by handle, what they took.
        num_examples: int. Of the task.
        is_share: bool. Whether scores are in [0, 1].
        survivors: handles of those that were not eliminated, or None for all.
    """
    alive = set(scores if survivors is None else survivors)
    scored = [c for c in candidates if c.handle in scores]
    scored.sort(
        key=lambda c: (
            c.handle not in alive,
            -_examples(scores[c.handle], num_examples),
            -scores[c.handle].value,
            not c.is_baseline,
        )
    )
    chances = _chances(
        {c.handle: scores[c.handle] for c in scored if c.handle in alive}
    )
    baseline = reference(candidates, scores)
    return [
        Entry(
            candidate.handle,
            candidate.name,
            score.value,
            score.standard_error,
            round(seconds.get(candidate.handle, 0.0), 3),
            statistics.interval_95(score, is_share),
            *_over(candidate, score, baseline, scores),
            chances.get(candidate.handle),
            _examples(score, num_examples),
            candidate.image_size,
            candidate.input_range,
        )
        for candidate in scored
        for score in (scores[candidate.handle],)
    ]


def pick(
    ranking: Sequence[Entry],
    candidates: Sequence[Candidate],
    margin: float,
) -> Entry:
    """Picks the best, or the baseline if that does not lead by the margin."""
    best = ranking[0]
    baseline = _baseline_to_beat(ranking, candidates)
    if baseline is None or best.score > baseline.score + margin:
        return best
    return baseline


def lead_of(
    best: Entry,
    ranking: Sequence[Entry],
    candidates: Sequence[Candidate],
    scores: Mapping[str, Score],
    margin: float,
    unused: np.ndarray | None = None,
) -> Lead | None:
    """Computes what the gain of the picked module over the baseline is worth.

    Args:
        best: Entry that `pick` returned.
        ranking: Entry of each module, as in `rank`.
        candidates: as in `rank`, and so are the scores.
        scores: by handle.
        margin: float. As in `select`.
        unused: as in `weigh_lead`.
    """
    baseline = _baseline_to_beat(ranking, candidates)
    if baseline is None or best.module == baseline.module:
        return None
    examples = {entry.module: entry.examples for entry in ranking}
    experts = [
        candidate.handle
        for candidate in candidates
        if not candidate.is_baseline and candidate.handle in examples
    ]
    rivals = [
        scores[handle]
        for handle in experts
        if examples[handle] == best.examples
    ]
    return weigh_lead(
        scores[best.module],
        scores[baseline.module],
        rivals,
        len(experts) - len(rivals),
        margin,
        unused=unused,
    )


def _baseline_to_beat(
    ranking: Sequence[Entry], candidates: Sequence[Candidate]
) -> Entry | None:
    """Finds the best baseline that was scored on as much as the best."""
    baselines = {c.handle for c in candidates if c.is_baseline}
    for entry in ranking:
        if entry.module in baselines and entry.examples == ranking[0].examples:
            return entry
    return None


def reference(
    candidates: Sequence[Candidate], scores: Mapping[str, Score]
) -> str | None:
    """Gives the baseline that leads are measured from: the first one scored."""
    scored = (c.handle for c in candidates if c.is_baseline)
    return next((handle for handle in scored if handle in scores), None)


def _examples(score: Score, num_examples: int) -> int:
    if score.per_example is not None:
        return len(score.per_example)
    return num_examples if score.num_examples is None else score.num_examples


def _over(
    candidate: Candidate,
    score: Score,
    baseline: str | None,
    scores: Mapping[str, Score],
) -> tuple[float | None, float | None]:
    """Gives the lead over the baseline and its error."""
    if baseline is None or candidate.handle == baseline:
        return None, None
    other = scores[baseline]
    if _examples(score, 0) != _examples(other, 0):
        return None, None  # one was eliminated before the other
    if score.per_example is None or other.per_example is None:
        return score.value - other.value, None
    return statistics.paired_difference(score, other)


def _chances(scores: Mapping[str, Score]) -> dict[str, float]:
    values = list(scores.values())
    if not values or any(score.per_example is None for score in values):
        return {}
    chances = statistics.chances_of_winning(values)
    return dict(zip(scores, map(float, chances), strict=True))
