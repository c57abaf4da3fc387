import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

from keras_experts.selection.leads import NUM_HALVINGS
from keras_experts.selection.leads import Lead
from keras_experts.selection.leads import weigh_lead
from keras_experts.selection.modules import Candidate
from keras_experts.selection.neighbors import leave_one_out_accuracy
from keras_experts.selection.neighbors import leave_one_out_correct
from keras_experts.selection.ranking import lead_of
from keras_experts.selection.ranking import pick
from keras_experts.selection.ranking import rank
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import mean_score
from keras_experts.selection.statistics import paired_test
from keras_experts.selection.votes import vote


def draw(rng, shares, number):
    """Scores of modules with these true accuracies, that agree on examples."""
    hardness = rng.normal(size=number)
    own = rng.normal(size=(len(shares), number))
    limits = stats.norm.ppf(shares)[:, None]
    right = (hardness + own) / np.sqrt(2) < limits
    return [mean_score(row) for row in right]


def weigh_best(baseline, rivals, **more):
    best = max(rivals, key=lambda score: score.value)
    return weigh_lead(best, baseline, rivals, **more)


def test_leads_of_modules_that_are_no_better_are_rarely_sure(rng):
    found, alone = [], []
    for _ in range(200):
        baseline, *rivals = draw(rng, [0.6] * 21, 150)
        lead = weigh_best(baseline, rivals)
        found.append(lead.by_chance < 0.05)
        best = max(rivals, key=lambda score: score.value)
        difference = best.per_example - baseline.per_example
        alone.append(stats.ttest_1samp(difference, 0).pvalue < 0.05)
    # Of a true 5 %, 0.5 % to 11 % in all but one of a thousand tries.
    assert 0.005 <= np.mean(found) <= 0.11
    assert np.mean(alone) > 0.12  # what does not count the rivals is fooled


def test_lead_of_one_rival_is_the_t_test_s(rng):
    baseline, rival = draw(rng, [0.6, 0.63], 1000)
    lead = weigh_best(baseline, [rival])
    difference = rival.per_example - baseline.per_example
    test = stats.ttest_1samp(difference, 0, alternative="greater")
    assert 0.005 < test.pvalue < 0.5
    assert lead.by_chance == pytest.approx(test.pvalue, abs=0.03)


def test_lead_of_independent_rivals_is_sidak_s(rng):
    number, rivals = 1000, 12
    leads = rng.normal(0.02, 1, (rivals, number))
    baseline = Score(0.0, np.zeros(number))
    lead = weigh_best(baseline, [mean_score(row) for row in leads])
    best = leads[leads.mean(axis=1).argmax()]
    alone = stats.ttest_1samp(best, 0, alternative="greater").pvalue
    assert 0.05 < lead.by_chance < 0.95
    assert lead.by_chance == pytest.approx(1 - (1 - alone) ** rivals, abs=0.05)


def neighbours_of(rng, signals, number=200, channels=8, k=1):
    """Scores of modules whose features tell so much of ten classes."""
    labels = np.arange(number) % 10
    means = rng.normal(size=(10, channels))[labels]
    found = []
    for signal in signals:
        features = signal * means + rng.normal(size=(number, channels))
        votes = vote(features.astype(np.float32), labels, k, "euclidean")
        found.append((features, mean_score(votes.correct(), votes)))
    return labels, *zip(*found, strict=True)


@pytest.mark.parametrize("k", [1, 3])
def test_votes_beside_are_those_of_each_half_alone(rng, k):
    labels, (features,), (score,) = neighbours_of(rng, [1.0], 300, k=k)
    side = rng.permuted(np.arange(300) < 150)
    beside = score.votes.correct_beside(side)
    alone = np.empty(300, bool)
    for half in (side, ~side):
        knn = KNeighborsClassifier(k, algorithm="brute").fit
        for place in np.flatnonzero(half):
            others = half.copy()
            others[place] = False
            model = knn(features[others], labels[others])
            row = model.predict(features[place : place + 1])
            alone[place] = row[0] == labels[place]
    # But for those that have none among the few that are known.
    assert (beside <= alone).all()
    assert np.count_nonzero(beside != alone) <= 6


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("copies", [1, 2])
def test_influence_of_an_image_is_what_is_lost_without_it(rng, k, copies):
    labels = rng.integers(0, 3, 40).repeat(copies)
    features = rng.normal(size=(40, 3)).repeat(copies, axis=0)
    groups = np.arange(40).repeat(copies)
    votes = vote(features, labels, k, "euclidean", groups)
    right = votes.correct().sum()
    found = np.bincount(groups, votes.influences(groups))
    for group in range(40):
        rest = groups != group
        left = leave_one_out_correct(
            features[rest], labels[rest], k, groups=groups[rest]
        )
        assert found[group] == right - left.sum()


def test_gain_on_copies_is_as_sure_as_on_the_images_alone(rng):
    labels = rng.integers(0, 3, 100)
    rows = [rng.normal(size=(100, 4)) + s * np.eye(4)[labels] for s in (1, 2)]
    found = []
    for copies in (1, 3):
        groups = np.arange(100).repeat(copies)
        scores = []
        for features in rows:
            votes = vote(
                features.repeat(copies, axis=0),
                *(labels.repeat(copies), 1, "euclidean", groups),
            )
            scores.append(mean_score(votes.correct(), votes, groups))
        lead = weigh_lead(scores[1], scores[0], [scores[1]])
        found.append((lead.by_chance, paired_test(scores[1], scores[0])))
    (once, test_once), (thrice, test_thrice) = found
    assert thrice >= once - 0.02
    assert test_thrice == pytest.approx(test_once)


def test_cross_fitted_lead_is_that_of_a_loop_over_halves(rng):
    labels, features, scores = neighbours_of(rng, [1.0, 1.0, 1.1, 1.2])
    found = []
    for _ in range(300):
        order = rng.permutation(len(labels))
        halves = order[:100], order[100:]
        leads = []
        for half in halves:
            right = [
                leave_one_out_accuracy(f[half], labels[half]) for f in features
            ]
            leads.append(np.array(right[1:]) - right[0])
        best = int(np.argmax(leads[0]))
        found.append((leads[0][best] > 0) * leads[1][best])
    lead = weigh_best(scores[0], list(scores[1:]))
    error = np.std(found) / np.sqrt(2 * NUM_HALVINGS)
    assert lead.cross_fitted == pytest.approx(np.mean(found), abs=4 * error)


@pytest.mark.slow
def test_neighbours_carry_no_luck_from_half_to_half(rng):
    """Mutual neighbours are right together, on both sides of a halving."""
    luck, sure, in_sample = [], [], []
    for _ in range(60):
        _, _, (baseline, *rivals) = neighbours_of(rng, [1.0] * 21, 150)
        lead = weigh_best(baseline, rivals)
        luck.append(lead.cross_fitted)
        sure.append(lead.by_chance < 0.05)
        leads = np.stack([s.per_example for s in rivals])
        leads -= baseline.per_example
        side = rng.permuted(np.arange(150) < 75)
        best = leads[:, side].mean(axis=1).argmax()
        in_sample.append(leads[best, ~side].mean())
    error = np.std(luck) / np.sqrt(60)
    assert abs(np.mean(luck)) < 0.01 + 2 * error
    assert np.mean(in_sample) > 0.015  # with the neighbours of both halves
    assert np.mean(sure) <= 0.15  # of a true 5 %, in all but 3 of a thousand


def test_cross_fitted_lead_shows_what_is_no_luck(rng):
    truth = []
    for _ in range(10):
        _, _, (baseline, *rivals) = neighbours_of(rng, [1.0] * 10 + [2.0])
        truth.append(weigh_best(baseline, rivals).cross_fitted)
    assert np.mean(truth) > 0.2


def test_margin_keeps_the_baseline_in_both_halves(rng):
    _, _, (baseline, *rivals) = neighbours_of(rng, [1.0, 1.1, 1.2])
    assert weigh_best(baseline, rivals, margin=1.0).cross_fitted == 0


@pytest.mark.slow
def test_order_of_values_has_no_part_in_what_a_half_picks(rng):
    """Few examples tie often, and the first of equals is picked."""
    given, ranked = [], []
    for _ in range(60):
        _, _, (baseline, *rivals) = neighbours_of(rng, [1.0] * 21, 40)
        candidates = [Candidate("base", "base", "baseline")]
        candidates += [Candidate(str(n), str(n)) for n in range(20)]
        scores = {
            candidate.handle: score
            for candidate, score in zip(
                candidates, (baseline, *rivals), strict=True
            )
        }
        entries = rank(candidates, scores, {}, 40, True)
        best = pick(entries, candidates, 0.0)
        lead = lead_of(best, entries, candidates, scores, 0.0)
        if lead is not None:
            given.append(lead.cross_fitted)
            rivals.sort(key=lambda score: -score.value)
            ranked.append(weigh_best(baseline, rivals).cross_fitted)
    assert np.mean(ranked) > np.mean(given) + 0.005


def test_rivals_eliminated_in_a_race_count(rng):
    baseline, *rivals = draw(rng, [0.6] * 41, 500)
    rivals.sort(key=lambda score: -score.value)
    whole = weigh_best(baseline, rivals)
    raced = weigh_best(baseline, rivals[:8], eliminated=32)
    assert raced.rivals == whole.rivals == 40
    # As if they were independent of the others: never surer than it is.
    assert whole.by_chance - 0.02 < raced.by_chance < whole.by_chance + 0.35
    assert weigh_best(baseline, rivals[:8]).by_chance < raced.by_chance


def test_race_that_used_all_images_has_no_cross_fitted_gain(rng):
    """What was eliminated was so by images of both halves."""
    _, _, (baseline, *rivals) = neighbours_of(rng, [1.0, 1.1, 1.2])
    assert weigh_best(baseline, rivals, eliminated=1).cross_fitted is None
    assert weigh_best(baseline, rivals).cross_fitted is not None
    none = np.zeros(len(baseline.per_example), bool)
    raced = weigh_best(baseline, rivals, eliminated=1, unused=none)
    assert raced.cross_fitted is None


def test_cross_fitted_gain_of_a_race_is_of_images_it_did_not_use(rng):
    """Rivals that are as good as the baseline, kept by luck on a third."""
    raced, naive = [], []
    for _ in range(30):
        _, _, (baseline, *rivals) = neighbours_of(rng, [1.0] * 31)
        used = np.arange(len(baseline.per_example)) % 3 == 0
        rivals.sort(key=lambda s: -s.votes.correct_beside(used)[used].mean())
        few = rivals[:3]
        arguments = {"eliminated": 27, "unused": ~used}
        raced.append(weigh_best(baseline, few, **arguments).cross_fitted)
        naive.append(weigh_best(baseline, few).cross_fitted)
    error = np.std(raced) / np.sqrt(len(raced))
    assert np.mean(raced) == pytest.approx(0, abs=3 * error)
    assert np.mean(naive) > np.mean(raced) + error


def test_lead_is_over_the_baseline_that_had_to_be_beaten(rng):
    _, _, scores = neighbours_of(rng, [0.5, 1.0, 1.2])
    candidates = [
        Candidate("weak", "weak", "baseline"),
        Candidate("strong", "strong", "baseline"),
        Candidate("expert", "expert"),
    ]
    scores = {
        c.handle: score for c, score in zip(candidates, scores, strict=True)
    }
    entries = rank(candidates, scores, {}, 200, True)
    best = pick(entries, candidates, 0.0)
    assert best.module == "expert"
    lead = lead_of(best, entries, candidates, scores, 0.0)
    strong = weigh_best(scores["strong"], [scores["expert"]])
    assert lead == strong
    assert lead != weigh_best(scores["weak"], [scores["expert"]])


@pytest.mark.parametrize(("wins", "losses"), [(3, 0), (12, 5), (2, 0)])
def test_few_examples_that_differ_are_no_proof(wins, losses):
    one, other = np.zeros((2, 500))
    one[:wins] = 1
    other[wins : wins + losses] = 1
    one, other = mean_score(one), mean_score(other)
    lead = weigh_lead(one, other, [one])
    mcnemar = stats.binomtest(wins, wins + losses, alternative="greater").pvalue
    assert mcnemar - 1e-9 <= lead.by_chance < mcnemar + 0.05


def test_scores_that_are_no_means_of_the_same_examples_have_no_lead(rng):
    baseline, rival = draw(rng, [0.6, 0.7], 100)
    short = mean_score(rival.per_example[:50])
    assert weigh_lead(short, baseline, [short]) is None
    assert weigh_lead(Score(0.5), baseline, [Score(0.5)]) is None


def test_same_and_always_better_modules_are_no_puzzle():
    none, every = (mean_score(np.full(20, share)) for share in (0, 1))
    # Twenty wins of twenty are half to the power of twenty, as McNemar says.
    assert weigh_lead(every, none, [every]).by_chance == 0.5**20
    assert weigh_lead(every, none, [every] * 3).by_chance == 3 * 0.5**20
    assert weigh_lead(none, none, [none]).by_chance == 1


def test_chances_on_both_sides_of_five_per_cent_are_told_apart():
    told = [Lead(1, share, None).told for share in (1e-4, 0.046, 0.054, 0.4)]
    assert told == ["below 0.1%", "4.6%", "5.4%", "40%"]
