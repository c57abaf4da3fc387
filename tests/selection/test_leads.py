import numpy as np
import pytest
from scipy import stats

from keras_experts.selection.leads import weigh_lead
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import mean_score


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


def test_cross_fitted_lead_is_that_of_a_loop_over_halves(rng):
    baseline, *rivals = draw(rng, [0.6, 0.6, 0.62, 0.64], 100)
    found = []
    for _ in range(2000):
        order = rng.permutation(100)
        picking, measuring = order[:50], order[50:]
        means = [s.per_example[picking].mean() for s in rivals]
        best = rivals[int(np.argmax(means))].per_example
        kept = max(means) <= baseline.per_example[picking].mean()
        lead = (best - baseline.per_example)[measuring].mean()
        found.append(0 if kept else lead)
    lead = weigh_best(baseline, rivals)
    error = np.std(found) / np.sqrt(200)
    assert lead.cross_fitted == pytest.approx(np.mean(found), abs=4 * error)


def test_cross_fitted_lead_shows_what_is_luck_and_what_is_not(rng):
    luck, truth = [], []
    for _ in range(20):
        baseline, *rivals = draw(rng, [0.6] * 31, 400)
        luck.append(weigh_best(baseline, rivals).cross_fitted)
        assert max(s.value for s in rivals) > baseline.value
        baseline, *rivals = draw(rng, [0.6] * 30 + [0.75], 400)
        truth.append(weigh_best(baseline, rivals).cross_fitted)
    assert abs(np.mean(luck)) < 0.02
    assert np.mean(truth) == pytest.approx(0.15, abs=0.02)


def test_margin_keeps_the_baseline_in_both_halves(rng):
    baseline, *rivals = draw(rng, [0.6, 0.62, 0.64], 100)
    assert weigh_best(baseline, rivals, margin=1.0).cross_fitted == 0


def test_scores_that_are_no_means_of_the_same_examples_have_no_lead(rng):
    baseline, rival = draw(rng, [0.6, 0.7], 100)
    short = mean_score(rival.per_example[:50])
    assert weigh_lead(rival, baseline, []) is None
    assert weigh_lead(short, baseline, [short]) is None
    assert weigh_lead(Score(0.5), baseline, [Score(0.5)]) is None


def test_same_and_always_better_modules_are_no_puzzle():
    none, every = (mean_score(np.full(20, share)) for share in (0, 1))
    assert weigh_lead(every, none, [every]).by_chance == 0
    assert weigh_lead(every, none, [every]).cross_fitted == 1
    assert weigh_lead(none, none, [none]).by_chance == 1
    assert weigh_lead(none, none, [none]).cross_fitted == 0
