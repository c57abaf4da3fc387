import csv
import io

import numpy as np
import pytest

from keras_experts import cli
from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import SuiteTask
from keras_experts.evaluation.results import write_results
from keras_experts.evaluation.statistics import Estimate
from keras_experts.evaluation.statistics import Summary
from keras_experts.evaluation.tables import make_notes
from keras_experts.evaluation.tables import make_tables
from keras_experts.evaluation.tables import shown
from keras_experts.evaluation.tables import to_csv
from keras_experts.evaluation.tables import to_markdown
from keras_experts.evaluation.tables import write_page

TASKS = (SuiteTask("pets", "natural"), SuiteTask("count", "structured"))


@pytest.fixture
def results():
    """Of the last method one task is missing."""
    rng = np.random.default_rng(0)
    runs = tuple(
        Run(task.name, method, repeat, run, float(rng.beta(8, 3)))
        for method in ("baseline", "<b>knn", "oracle")
        for task in TASKS[: 1 if method == "oracle" else 2]
        for repeat in range(10)
        for run in range(3)
    )
    return Results("drawn", TASKS, runs)


def test_tables_are_those_of_the_paper_and_regrets(results):
    tables = {table.title: table for table in make_tables(Summary(results))}
    assert list(tables) == [
        "Groups",
        "Tasks",
        "Over the baseline",
        "Regret against the best module of each task (oracle)",
    ]
    assert tables["Groups"].columns == ("natural", "structured", "all")
    assert tables["Tasks"].columns == ("pets", "count")
    assert "baseline" not in tables["Over the baseline"].rows
    assert tables["Groups"].missing == {"oracle": ("count",)}


def test_one_run_alone_has_no_interval_anywhere(results, tmp_path):
    alone = tuple(r for r in results.runs if (r.repeat, r.run) == (0, 0))
    one = Results("drawn", TASKS, alone)
    tables = make_tables(Summary(one))
    for table in tables:
        for cell in table.rows.values():
            assert not any(e.is_sure for e in cell if e)
    assert "[" not in to_markdown(tables, [])
    assert {
        row["low"] for row in csv.DictReader(io.StringIO(to_csv(tables)))
    } == {""}
    write_page(tmp_path / "page.html", one, tables)
    assert "nan" not in (tmp_path / "page.html").read_text()
    assert "baseline: 1 run a task. One alone has no interval." in make_notes(
        one
    )


def test_mean_over_some_tasks_says_so_everywhere(results):
    tables = make_tables(Summary(results))
    markdown = to_markdown(tables, [])
    assert "(1 of 2 tasks)" in markdown
    assert "Without a result of oracle: count." in markdown
    rows = list(csv.DictReader(io.StringIO(to_csv(tables))))
    found = [r for r in rows if (r["method"], r["of"]) == ("oracle", "all")]
    assert {row["missing"] for row in found} == {"count"}


def test_csv_has_the_figures_of_the_summary(results):
    summary = Summary(results)
    rows = list(csv.DictReader(io.StringIO(to_csv(make_tables(summary)))))
    (row,) = (
        r
        for r in rows
        if (r["table"], r["method"], r["of"]) == ("Groups", "baseline", "all")
    )
    expected = summary.group("baseline", "all")
    for key in ("value", "low", "high"):
        assert float(row[key]) == pytest.approx(
            getattr(expected, key), abs=1e-6
        )
    assert shown(expected).startswith(f"{100 * expected.value:.1f} [")


def test_report_makes_all_of_a_results_file_alone(results, tmp_path, capfd):
    write_results(tmp_path / "results.json", results)
    page, table = tmp_path / "page.html", tmp_path / "table.md"
    command = ["report", str(tmp_path), "--html", str(page), "--csv", "-"]
    assert cli.main([*command, "--markdown", str(table)]) == 0
    out = capfd.readouterr().out
    assert out == to_csv(make_tables(Summary(results)))
    tables = make_tables(Summary(results))
    assert table.read_text() == to_markdown(tables, make_notes(results))
    text = page.read_text()
    assert "&lt;b&gt;knn" in text and "<b>knn" not in text
    assert "http" not in text.replace("http-equiv", "")  # self-contained
    assert "Without a result of oracle: count." in text


def test_report_of_damaged_results_is_one_line(tmp_path, capfd):
    (tmp_path / "results.json").write_text('{"version": 9}')
    assert cli.main(["report", str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert "must be of version 2" in err


def test_report_of_a_folder_without_results_is_one_line(tmp_path, capfd):
    assert cli.main(["report", str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert "must be a results.json of `evaluate`, or its folder" in err


def test_diverged_runs_and_few_runs_are_told(results):
    runs = [
        Run("pets", "knn", repeat, 0, 0.0, {"failed": "loss"})
        if repeat
        else Run("pets", "knn", repeat, 0, 0.5)
        for repeat in range(3)
    ]
    notes = make_notes(Results("few", TASKS, (*results.runs, *runs)))
    assert "baseline: 30 runs a task." in notes
    (note,) = (note for note in notes if note.startswith("knn"))
    assert "3 runs, of which 2 diverged and count as 0 a task" in note
    assert "about their range" in note


def test_sure_differences_are_marked():
    sure, unsure = Estimate(1, 0.1, 2, ()), Estimate(1, -0.1, 2, ())
    assert shown(sure, is_difference=True).endswith("]*")
    assert shown(unsure, is_difference=True).endswith("]")
    assert shown(sure).endswith("]")


def test_page_without_a_run_is_refused(tmp_path, capfd):
    write_results(tmp_path / "results.json", Results("empty", TASKS, ()))
    page = str(tmp_path / "page.html")
    assert cli.main(["report", str(tmp_path), "--html", page]) == 1
    assert "must have a run. Received: empty" in capfd.readouterr().err
