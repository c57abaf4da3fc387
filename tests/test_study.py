"""The study's page says what its results are."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_experts import files
from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import SuiteTask
from keras_experts.evaluation.statistics import Summary
from study import feature_tables
from study import ranking_tables
from study import report
from study.keep import picks
from study.keep import short
from study.pages import fill

STUDY = Path(__file__).parent.parent / "study"
PAGE = STUDY.parent / "docs" / "study.md"


def test_tables_of_the_page_follow_from_the_results():
    text = PAGE.read_text()
    made = report.tables(*map(report.read, (report.LARGE, report.SMALL)))
    assert set(re.findall(r"<!-- (\w+) -->", text)) == made.keys()
    for name, table in made.items():
        parts = text.split(f"<!-- {name} -->")
        assert parts[1].strip() == table.strip(), f"run make report: {name}"


def test_results_of_the_study_name_no_place_of_a_machine():
    kept = [*STUDY.glob("results/*"), *STUDY.glob("trials*/*")]
    assert kept
    assert not [path for path in kept if '"/' in path.read_text()]


def test_page_without_its_marks_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- one -->")
    with pytest.raises(ValueError, match="twice. Received: 1 times"):
        fill(page, "one", "text")
    assert page.read_text() == "<!-- one -->"


def test_neighbours_are_compared_where_every_module_was_trained():
    known = {"baseline": 0.5, "tree": 0.6, "random_tree": 0.4}
    kept = {t: {"neighbours": known} for t in ("whole", "part")}
    trained = [("whole", "baseline", 0.7), ("whole", "builtin#tree", 0.8)]
    trained += [("whole", "builtin#tree", 0.9), ("part", "tree/1", 0.8)]
    keys = ("task", "module", "accuracy")
    trials = [
        {"part": "final", **dict(zip(keys, one, strict=True))}
        for one in trained
    ]
    # What chose the rate does not count.
    trials.append({**trials[0], "part": "tuning", "accuracy": 0.1})
    for trial in trials:
        trial["module"] = trial["module"].replace("baseline", "x#baseline")
    tuned = ranking_tables.accuracies(trials, kept)
    assert tuned == {"whole": {"baseline": 0.7, "tree": pytest.approx(0.85)}}


def test_modules_of_one_kind_are_compared_where_those_were_trained():
    known = {"baseline": 0.5, "tree": 0.6, "tree-full": 0.4}
    trained = {"baseline/1": 0.7, "tree-full/1": 0.8}
    trials = [
        {"part": "final", "task": "one", "module": module, "accuracy": found}
        for module, found in trained.items()
    ]
    kept = {"one": {"neighbours": known}}
    assert ranking_tables.accuracies(trials, kept) == {}
    tuned = ranking_tables.accuracies(trials, kept, "full")
    assert tuned == {"one": {"baseline": 0.7, "tree-full": 0.8}}


def test_picks_of_methods_that_were_not_run_to_their_end_do_not_count(tmp_path):
    rows = [{"module": "a/tree-full/1", "score": 0.5}]
    selection = {"best": "a/tree-full/1", "ranking": rows}
    for method in ("knn@full", "logme@full"):
        files.write_json(tmp_path / "one" / f"{method}.json", selection)
    found = picks(tmp_path, {("one", "knn@full")})
    assert found == {
        "one": {
            "picked": {"knn@full": "tree-full"},
            "neighbours": {"tree-full": 0.5},
        }
    }


def results_of(accuracies, runs=3):
    """Results of one task, of each method the accuracies of its runs."""
    return Results(
        "suite",
        (SuiteTask("one", "natural"),),
        tuple(
            Run("one", method, 0, run, value)
            for method, values in accuracies.items()
            for run, value in enumerate(values)
        ),
        {"runs": runs},
    )


def test_new_runs_are_neither_the_first_nor_those_the_oracle_picks_by():
    first = results_of({"baseline": [0.1, 0.2, 0.3]})
    more = results_of({"baseline": [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]}, 6)
    found = report.again(more, first)
    assert [one.accuracy for one in found.results.runs] == [0.5, 0.7]
    assert found.groups == ("one", "all")
    assert found.task("baseline", "one").value == pytest.approx(0.6)


def test_by_lot_is_the_mean_of_all_modules():
    ways = ("knn@full", "logme@full", "domain_prediction@full")
    kept = results_of(dict(zip(ways, ([0.5], [0.6], [0.7]), strict=True)))
    tuned = {"one": {"baseline": 0.5, "tree-full": 0.7}}
    text = report.by_lot(Summary(kept), tuned)
    means = [line.split(" | ")[1] for line in text.splitlines()[2:]]
    assert means == ["-10.0", "+0.0", "+10.0"]


def test_modules_of_the_study_have_short_names():
    assert short("builtin#tree") == "tree"
    assert short("work/collection/us/study/tree-full/1") == "tree-full"


def test_pools_of_the_study_name_experts_of_the_package():
    from keras_experts.selection.modules import expand

    known = {c.handle for c in expand(["builtin"])}
    for path in (STUDY / "pools").glob("*.txt"):
        lines = path.read_text().splitlines()
        named = {line for line in lines if line.startswith("builtin#")}
        assert named <= known, path.name


def test_suites_of_the_study_are_read():
    from keras_experts.evaluation.suites import load_suite

    whole, *parts = (
        {entry.name for entry in load_suite(str(STUDY / f"{n}.json")).entries}
        for n in ("suite", "oracle", "natural", "larger")
    )
    assert all(part < whole for part in parts)
    assert files.read_json(STUDY / "experts.json")


def test_among_the_classes_of_their_images_others_do_not_count(monkeypatch):
    from study.within import Within

    within = Within.__new__(Within)
    within.data = SimpleNamespace(
        test=SimpleNamespace(labels=np.array([0, 1, 2, 1]))
    )
    within.slices = {"pair": np.array([0, 1, 3])}
    within.images = np.zeros((4, 1))
    # Of all classes it would choose 2 each time; of 0 and 1 it is right twice.
    within.outputs = np.array(
        [[2, 1, 9], [1, 2, 9], [0, 0, 9], [2, 1, 9]], np.float32
    )
    always_1 = SimpleNamespace(predict=lambda x, *_: np.eye(3)[[1] * len(x)])
    monkeypatch.setattr(Within, "_load", lambda *_: always_1)
    found = within.compare("full", "pair")
    assert found == {"expert": pytest.approx(2 / 3), "baseline": 2 / 3}


def test_table_of_leads_counts_in_points():
    rows = [
        {"kind": "full", "expert": expert, "baseline": baseline}
        for expert, baseline in ((0.5, 0.4), (0.6, 0.6))
    ]
    text = feature_tables.within({"small": rows})
    assert text.splitlines()[-1] == (
        "| small | full | 2 | 50.0 | 55.0 | +5.0 | +0.0 to +10.0 |"
    )
