import json

import pytest

from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import SuiteTask
from keras_experts.evaluation.results import merge
from keras_experts.evaluation.results import read_results
from keras_experts.evaluation.results import write_results

TASKS = (SuiteTask("pets", "natural", "mean_per_class"),)


def results(*accuracies, method="knn"):
    runs = [
        Run("pets", method, repeat, 0, value, {"module": "a/1", "seconds": 2})
        for repeat, value in enumerate(accuracies)
    ]
    return Results("dat", TASKS, tuple(runs))


def test_results_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, results(0.5, 0.7))
    assert read_results(path) == results(0.5, 0.7)


def change(key, value):
    return lambda content: {**content, key: value}


def change_run(**fields):
    return lambda content: {
        **content,
        "runs": [{**content["runs"][0], **fields}],
    }


@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        (change("version", 1), "must be of version 2. Received: .* version 1"),
        (change("tasks", {}), "must have version, suite, protocol"),
        (lambda content: [content], "must have version"),
        (change_run(accuracy=1.5), r"accuracy in \[0, 1\]. .* with 1.5"),
        (change_run(accuracy=float("nan")), r"in \[0, 1\]. .* with nan"),
        (change_run(task="cars"), "one of the file's tasks.* 'cars'"),
        (change_run(repeat="0"), "A run of results must have .*'0'"),
        (
            lambda content: {**content, "runs": content["runs"] * 2},
            r"must be there once. Received: \('pets', 'knn', 0, 0\) twice",
        ),
    ],
)
def test_damaged_results_are_refused_in_one_line(tmp_path, harm, rule):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(harm(results(0.5).to_json())))
    with pytest.raises(ValueError, match=rule) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_truncated_results_are_refused(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, results(0.5))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="must be JSON. Received: .*results"):
        read_results(path)


def test_results_of_one_suite_are_merged():
    merged = merge([results(0.5), results(0.6, method="random")])
    assert merged.methods == ["knn", "random"]
    with pytest.raises(ValueError, match="runs in common. Received: 1 twice"):
        merge([results(0.5), results(0.6)])
    other = Results("dat", TASKS, (), {"sweep": "vtab"})
    with pytest.raises(ValueError, match="must be of one protocol"):
        merge([results(0.5), other])
    other = Results("vtab1k", TASKS, ())
    with pytest.raises(ValueError, match="Received: 'dat' and 'vtab1k'"):
        merge([results(0.5), other])
