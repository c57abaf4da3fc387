"""The words of a selection: what to take, and why."""

import dataclasses

import pytest

from keras_experts.selection.conclusion import conclude
from keras_experts.selection.conclusion import format_p_value
from keras_experts.selection.leads import Lead
from keras_experts.selection.ranking import Entry
from keras_experts.selection.ranking import Selection

BASELINE = Entry(
    "base", "baseline", 0.6, 0.01, 1.0, [0.5, 0.7], None, None, 0.4, 1000
)
EXPERT = Entry(
    "bird", "bird", 0.631, 0.01, 1.0, [0.6, 0.66], 0.031, 0.01, 0.6, 1000
)


def selection_of(best=EXPERT, ranking=(EXPERT, BASELINE), p_value=None, **more):
    lead = None if p_value is None else Lead(42, p_value, None)
    given = {"baseline": "base", "lead": lead, **more}
    return Selection(
        "photos",
        1000,
        "knn",
        best=best,
        ranking=[*ranking],
        skipped=[],
        **given,
    )


def test_baseline_is_recommended_where_the_p_value_is_large():
    found = conclude(selection_of(p_value=0.29))
    assert found.recommended == "base"
    assert found.text == (
        "No expert is reliably better than the baseline; take the baseline. "
        "The best one, bird, scores 3.1 points higher (95% interval 1.1 to "
        "5.1, p = 0.29, corrected for 42 experts)."
    )


def test_expert_is_recommended_where_the_p_value_is_small():
    found = conclude(selection_of(p_value=0.0123))
    assert found.recommended == "bird"
    assert found.text == (
        "The expert bird is better than the baseline by 3.1 points (95% "
        "interval 1.1 to 5.1, p = 0.012, corrected for 42 experts)."
    )


def test_limit_of_the_p_value_recommends_the_baseline():
    assert conclude(selection_of(p_value=0.05)).recommended == "base"
    assert conclude(selection_of(p_value=0.0499)).recommended == "bird"


def test_pick_is_recommended_where_nothing_is_known_of_its_gain():
    alone = selection_of(ranking=[EXPERT], baseline=None)
    eliminated = dataclasses.replace(BASELINE, examples=50)
    for selection, words in (
        (alone, "the only module that was scored"),
        (selection_of(baseline=None), "no baseline to compare"),
        (selection_of(ranking=[EXPERT, EXPERT]), "The baseline was skipped"),
        (selection_of(ranking=[EXPERT, eliminated]), "after 50 images"),
        (selection_of(is_share=False), "0.031 above the baseline"),
    ):
        found = conclude(selection)
        assert found.recommended == "bird"
        assert words in found.text


def test_baseline_that_is_kept_is_recommended():
    kept = selection_of(best=BASELINE, margin=0.05)
    found = conclude(kept)
    assert found.recommended == "base"
    assert "higher than the baseline by more than 5.0 points" in found.text


def test_json_holds_the_conclusion():
    content = selection_of(p_value=0.29).to_json()
    assert (content["best"], content["recommended"]) == ("bird", "base")
    assert content["conclusion"].startswith("No expert is reliably better")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0004, "p < 0.001"),
        (0.0123, "p = 0.012"),
        (0.049, "p = 0.049"),
        (0.1, "p = 0.10"),
        (1.0, "p = 1.00"),
    ],
)
def test_p_values_have_two_digits(value, expected):
    assert format_p_value(value) == expected
