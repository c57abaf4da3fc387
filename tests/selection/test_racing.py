import numpy as np
import pytest
from scipy import stats

from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import Task
from keras_experts.selection.features import Features
from keras_experts.selection.folds import stratified_order
from keras_experts.selection.modules import Candidate
from keras_experts.selection.racing import Racing
from keras_experts.selection.racing import plan_rounds
from keras_experts.selection.racing import race
from keras_experts.selection.selector import select
from keras_experts.selection.selector import select_many
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import mean_score
from keras_experts.selection.statistics import sign_test
from keras_experts.selection.strategies import Knn
from keras_experts.selection.strategies import LogMe


@pytest.mark.parametrize("number", [2, 3, 7, 36, 240, 600])
@pytest.mark.parametrize("examples", [50, 300, 1000])
@pytest.mark.parametrize("budget", [0.1, 0.25, 0.5, 1.0])
def test_budget_is_kept(number, examples, budget):
    plan = plan_rounds(Racing("budget", budget=budget), number, examples)
    passes = seen = 0
    kept = number
    for size, keep in plan:
        assert size > seen and 1 <= keep <= kept
        passes += keep * (size - seen)
        seen, kept = size, keep
    assert passes <= max(budget * number * examples, 2 * number)
    assert seen <= examples


def test_some_see_all_images_in_a_large_pool():
    plan = plan_rounds(Racing("budget", budget=0.25), 36, 1000)
    assert plan[0][1] == 36
    assert plan[-1][0] == 1000 and plan[-1][1] >= 2


def test_each_part_of_the_order_has_the_classes_shares(rng):
    labels = rng.permutation(np.repeat([0, 1, 2], [600, 300, 100]))
    order = stratified_order(labels, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    for examples in (20, 100, 500):
        counts = np.bincount(labels[order[:examples]], minlength=3)
        shares = np.array([0.6, 0.3, 0.1]) * examples
        assert np.abs(counts - shares).max() <= 1
    assert (stratified_order(labels, 1) != order).any()


def test_test_of_pairs_is_scipy_s(rng):
    first, second = (mean_score(rng.random(80) < p) for p in (0.7, 0.5))
    wins = np.sum(first.per_example > second.per_example)
    losses = np.sum(first.per_example < second.per_example)
    expected = stats.binomtest(wins, wins + losses, alternative="greater")
    assert sign_test(first, second) == pytest.approx(expected.pvalue)
    assert sign_test(first, first) == 1.0


@pytest.fixture(scope="module")
def contest():
    """Images of noise that hold their label, and modules that blur it."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    pixels = rng.integers(0, 256, (400, 4, 4, 3)).astype(np.uint8)
    pixels[:, 0, 0, 0] = labels * 60

    def module(number, noise):
        def features(images):
            images = np.asarray(images)
            told = images[:, 0, 0, :1] * 20.0
            return np.concatenate(
                [told, images[:, 1 + number % 3, :, 0] * noise], axis=1
            )

        name = f"noise_{noise}"
        return Candidate(name, name, None, 4, function=features)

    pool = [module(i, noise) for i, noise in enumerate((9, 1, 30, 12, 60, 40))]
    return pool, from_arrays(pixels, labels, list("abcd")), labels


def never(candidate, reason):
    pytest.fail(f"{candidate.name} was left out: {reason}")


@pytest.mark.parametrize("mode", ["error", "budget"])
def test_clearly_best_module_wins_at_fewer_passes(contest, mode):
    pool, images, labels = contest
    with Features(images) as features:
        result = race(
            Knn(),
            features,
            pool,
            np.arange(400),
            labels,
            Racing(mode, budget=0.4),
            never,
        )
        assert features.embedded.sum() == result.race.passes
        exact = Knn().score(features.get(pool[1], np.arange(400)), labels, None)
    assert result.survivors[0] == "noise_1"
    used = max(r.examples for r in result.race.rounds if r.eliminated)
    order = stratified_order(labels, Racing(mode).seed)
    assert not result.unused[order[:used]].any()
    assert result.unused[order[used:]].all()
    winner = result.scores["noise_1"]
    # Who voted is told in the task's order, not in the race's.
    np.testing.assert_array_equal(winner.votes.voters, exact.votes.voters)
    np.testing.assert_array_equal(winner.votes.correct(), winner.per_example)
    assert result.scores["noise_1"].value == exact.value
    assert result.race.passes < 0.7 * 6 * 400
    assert result.race.saved == 1 - result.race.passes / 2400
    gone = [name for r in result.race.rounds for name in r.eliminated]
    assert sorted(gone + result.survivors) == sorted(c.name for c in pool)


def test_best_of_equals_is_seldom_eliminated(rng):
    """Of 400 races of 8 equals, the first goes in at most 5 % at level 5 %."""
    rounds, lost = 4, 0
    for _ in range(400):
        correct = rng.random((8, 256)) < 0.6
        for size in (32, 64, 128, 256):
            scores = [mean_score(row[:size]) for row in correct]
            leader = max(scores, key=lambda score: score.value)
            if sign_test(leader, scores[0]) <= 0.05 / (rounds * 7):
                lost += 1
                break
    assert stats.binomtest(lost, 400, 0.05, "greater").pvalue > 0.01


class KnownFeatures:
    """Stands for `Features` of modules whose features are given."""

    def __init__(self, rows):
        self.rows, self.failed = rows, {}

    def compute(self, candidates, indices, on_ready):
        for candidate in candidates:
            on_ready(candidate, self.rows[candidate.handle][indices], 0.0)


def race_on_noise(rng, signals, burst_size, spread=0.6, number=512):
    """Runs a race of modules that see bursts of near-duplicates.

    Args:
        rng: generator.
        signals: of each module, how far apart it has the classes.
        burst_size: int. Images of a burst, which have one label and lie close
            together for each module.
        spread: float. Distance within a burst, relative to that between.
        number: int. Images.
    """
    burst = np.arange(number) // burst_size
    labels = rng.integers(0, 10, burst[-1] + 1)[burst]
    centers = rng.normal(size=(10, 8))[labels]
    shape = (number, 8)
    rows = {
        str(i): signal * centers
        + rng.normal(size=shape)[burst]
        + (burst_size > 1) * spread * rng.normal(size=shape)
        for i, signal in enumerate(signals)
    }
    return race(
        Knn(),
        KnownFeatures(rows),
        [Candidate(name, name) for name in rows],
        np.arange(number),
        labels,
        Racing("error", seed=int(rng.integers(2**30))),
        never,
    )


@pytest.mark.slow
def test_best_of_equals_is_seldom_eliminated_on_bursts_of_images():
    """At 5%, more than 4 of 30 races happen 2 times in 100."""
    rng = np.random.default_rng(0)
    races = [race_on_noise(rng, [0.7] * 8, burst_size=8) for _ in range(30)]
    assert sum("0" not in found.survivors for found in races) <= 4


def test_races_by_error_save_passes_on_independent_images():
    rng = np.random.default_rng(0)
    signals = [1.5, 1.3, 1.1, 1, 0.8, 0.6, 0.4, 0.2]
    races = [race_on_noise(rng, signals, burst_size=1) for _ in range(5)]
    assert np.mean([found.race.saved for found in races]) > 0.25
    assert all("0" in found.survivors for found in races)


def test_module_that_fails_on_the_way_is_out(contest):
    pool, images, labels = contest
    calls = []

    def failing(batch):
        calls.append(len(batch))
        rows = np.asarray(batch)[:, 0, 0]
        return rows * (np.nan if sum(calls) > 100 else 1.0)

    pool = [*pool, Candidate("failing", "failing", None, 4, function=failing)]
    with Features(images) as features:
        result = race(
            *(Knn(), features, pool, np.arange(400), labels, Racing("error")),
            never,
        )
        assert "NaN" in features.failed["failing"]
    assert "failing" not in result.scores


def test_test_needs_scores_of_examples(contest):
    pool, images, labels = contest
    arguments = (pool, np.arange(400), labels, Racing("error"), never)
    with Features(images) as features:
        with pytest.raises(ValueError, match="such as knn"):
            race(LogMe(), features, *arguments)
    with pytest.raises(ValueError, match="such as knn"):
        sign_test(Score(1.0), Score(0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fast"}, "`mode` must be one of"),
        ({"error": 1.0}, r"`error` must be in \(0, 1\)"),
        ({"budget": 0.0}, r"`budget` must be in \(0, 1\]"),
    ],
)
def test_wrong_races_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Racing(**arguments)


def of_rows(name, rows, kind=None):
    """A module whose features of each image are known."""

    def features(images):
        places = np.asarray(images)[:, 0, 0, :2] * 255
        return rows[np.round(places @ (1, 256)).astype(int)]

    return Candidate(name, name, kind, 1, function=features)


def numbered_task(labels, num_classes):
    """Images of one pixel that tells which one it is."""
    number = np.arange(len(labels))
    pixels = np.stack([number % 256, number // 256, 0 * number], axis=-1)
    pixels = pixels[:, None, None].astype(np.uint8)
    names = [str(label) for label in range(num_classes)]
    images = from_arrays(pixels, labels, names)
    return Task("numbered", images, images)


def test_right_module_of_many_classes_is_found_with_few_images(rng):
    """The first 50 images of 100 classes hold pairs of a class."""
    labels = np.arange(1000) % 100
    good = np.eye(100, dtype=np.float32)[labels]
    pool = [
        of_rows(f"noise_{i}", rng.normal(size=(1000, 8)).astype(np.float32))
        for i in range(39)
    ]
    selection = select(
        numbered_task(labels, 100), [*pool, of_rows("good", good)]
    )
    assert selection.race is not None
    assert selection.best.expert == "good"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["knn", "h_score"])
@pytest.mark.parametrize("mode", ["error", "budget"])
def test_baseline_sees_all_images_and_margins_count(rng, strategy, mode):
    if (strategy, mode) == ("h_score", "error"):
        return  # has no scores of examples
    labels = np.arange(600) % 6
    classes = np.eye(6, dtype=np.float32)[labels]
    noise = rng.normal(size=(600, 6)).astype(np.float32)
    baseline = of_rows("baseline", classes + 0.5 * noise, "baseline")
    pool = [
        of_rows(f"good_{i}", classes + 0.01 * i * noise) for i in range(1, 36)
    ]
    found = [
        select(
            numbered_task(labels, 6),
            [baseline, *pool],
            strategy,
            margin=margin,
            racing=Racing(mode),
        )
        for margin in (0.0, 100.0)
    ]
    for selection in found:
        entries = {entry.expert: entry for entry in selection.ranking}
        assert entries["baseline"].examples == 600
        leads = [
            e.over_baseline for e in selection.ranking if e.examples == 600
        ]
        assert leads.count(None) == 1  # its own
        few = [entry for entry in selection.ranking if entry.examples < 600]
        assert few and all(entry.over_baseline is None for entry in few)
    assert found[0].best.expert.startswith("good")
    assert found[1].best.expert == "baseline"


def test_module_that_failed_on_a_task_is_not_run_on_the_next(rng):
    calls = []

    def broken(images):
        calls.append(len(images))
        return np.full((len(images), 2), np.nan)

    labels = np.arange(200) % 4
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    pool = [of_rows(f"noise_{i}", rows + i) for i in range(3)]
    pool.append(Candidate("broken", "broken", None, 1, function=broken))
    tasks = [numbered_task(labels, 4)] * 3
    before = None
    for selection in select_many(tasks, pool, racing=Racing("error")):
        assert [row["module"] for row in selection.skipped] == ["broken"]
        assert len(selection.ranking) == 3
        before = before or len(calls)
    assert len(calls) <= 3  # compiled, traced and called, once


def test_module_that_cannot_be_scored_is_left_out_of_one_task(rng):
    class Picky(Knn):
        def score(self, features, labels, candidate, groups=None):
            if candidate.name == "noise_1" and labels.max() > 4:
                raise ValueError("too many classes")
            return super().score(features, labels, candidate, groups)

    rows = rng.normal(size=(200, 4)).astype(np.float32)
    pool = [of_rows(f"noise_{i}", rows + i) for i in range(3)]
    tasks = [numbered_task(np.arange(200) % n, n) for n in (4, 8)]
    first, second = select_many(tasks, pool, Picky(), racing=Racing("error"))
    assert first.skipped == [] and len(first.ranking) == 3
    assert second.skipped == [
        {"module": "noise_1", "reason": "too many classes"}
    ]
    assert len(second.ranking) == 2
