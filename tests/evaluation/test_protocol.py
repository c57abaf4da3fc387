import json
from pathlib import Path

import numpy as np
import pytest

from keras_experts import cli
from keras_experts.evaluation.evaluating import evaluate
from keras_experts.evaluation.protocol import Protocol
from keras_experts.evaluation.results import read_results
from keras_experts.evaluation.statistics import Summary
from keras_experts.evaluation.suites import load_suite
from keras_experts.evaluation.sweeps import SMALL_RATES
from keras_experts.evaluation.sweeps import SWEEPS
from keras_experts.evaluation.tables import make_tables

QUICK = {"num_images": 32, "batch_size": 8}
ONCE = Protocol(**QUICK, repeats=1, runs=1)


@pytest.mark.slow
def test_methods_share_trials_and_all_is_told(
    suite, small_pool, tmp_path, calls, capfd
):
    modules = [small_pool]
    methods = ("baseline", "knn", "random", "oracle")
    output = tmp_path / "out"
    arguments = (
        suite,
        modules,
        output,
        methods,
        Protocol(**QUICK, repeats=2, runs=2),
    )
    results = evaluate(*arguments, oracle_runs=4)
    assert "Missing not_there:" in capfd.readouterr().err
    assert [task.name for task in results.tasks] == [
        "colours",
        "split",
        "not_there",
    ]
    # Each module and seed of a task once, whichever method asks for it.
    number = len(calls)
    assert number == len({(t.entry, t.module, t.seed) for t in calls})
    assert results.methods == list(methods)
    assert len(results.runs) == 4 * 2 * 4
    assert read_results(output / "results.json") == results
    picked = {
        (run.task, run.method): run.details["module"] for run in results.runs
    }
    for task in ("colours", "split"):
        for method in methods[:3]:
            told = output / "selections" / task / f"{method}.json"
            chosen = json.loads(told.read_text())["best"]
            assert picked[task, method] == chosen
        looks = {}
        for trial in calls:
            if trial.entry.name == task and trial.seed >= 4:
                record = output / "trials" / f"{trial.key}.json"
                accuracy = json.loads(record.read_text())["accuracy"]
                looks.setdefault(trial.module, []).append(accuracy)
        medians = {module: np.median(found) for module, found in looks.items()}
        best = max(medians.values())
        assert medians[picked[task, "oracle"]] == best
        manifest = output / "manifests" / f"{task}.final.json"
        manifest = json.loads(manifest.read_text())
        assert manifest["train"]["num_examples"] == len(
            manifest["train"]["examples"]
        )
    # Run again, nothing is trained.
    again = evaluate(*arguments, oracle_runs=4)
    assert len(calls) == number
    assert again == results
    # A record that was cut short is run again, and no other.
    record = next((output / "trials").iterdir())
    record.write_bytes(record.read_bytes()[:-9])
    again = evaluate(*arguments, oracle_runs=4)
    assert len(calls) == number + 1
    assert [r.accuracy for r in again.runs] == [
        r.accuracy for r in results.runs
    ]


def test_pools_are_chosen_from_apart_and_share_trials(
    suite, small_pool, tmp_path, calls
):
    modules = [small_pool]
    whole = evaluate(suite, modules, tmp_path / "whole", ("knn",), ONCE)
    calls.clear()
    methods = ("baseline", "knn", "knn@same")
    results = evaluate(
        suite,
        modules,
        tmp_path / "parts",
        methods,
        ONCE,
        pools={"same": modules},
    )
    assert results.methods == list(methods)
    accuracies = {
        method: [r.accuracy for r in results.runs if r.method == method]
        for method in ("knn", "knn@same")
    }
    assert accuracies["knn"] == accuracies["knn@same"]
    assert accuracies["knn"] == [run.accuracy for run in whole.runs]
    picked = {(r.task, r.details["module"]) for r in results.runs}
    assert len(calls) == len(picked)
    told = tmp_path / "parts" / "selections" / "colours"
    assert (told / "knn@same.json").is_file()


@pytest.mark.slow
def test_oracle_of_a_pool_trains_its_modules_alone(
    suite, small_pool, tmp_path, calls
):
    folder = Path(small_pool).parent
    two = [str(folder / f"module{number}") for number in (0, 2)]
    listed = tmp_path / "two.txt"
    listed.write_text("".join(f"{path} image_size=8\n" for path in two))
    pools = {"two": [str(listed)]}
    methods = ("baseline", "oracle@two")
    results = evaluate(
        suite, [small_pool], tmp_path, methods, ONCE, pools=pools
    )
    assert results.methods == list(methods)
    assert {trial.module for trial in calls} == set(two)
    picked = {
        run.details["module"]
        for run in results.runs
        if run.method == "oracle@two"
    }
    assert picked <= set(two)
    titles = [table.title for table in make_tables(Summary(results))]
    assert titles[-1].endswith("best module of each task (oracle@two)")


def test_oracle_runs_at_least_once(suite, small_pool, tmp_path):
    with pytest.raises(ValueError, match="oracle_runs"):
        evaluate(suite, [small_pool], tmp_path, ("oracle",), oracle_runs=0)


@pytest.mark.parametrize(
    ("methods", "rule"),
    [
        (("nearest",), "one of knn, .*Received: 'nearest'"),
        (("knn@",), r"a pool \(same\). Received: 'knn@'"),
        (("knn@other",), r"a pool \(same\). Received: 'knn@other'"),
        (("knn",), "Received: none for same"),
    ],
)
def test_methods_and_pools_that_do_not_fit_are_refused(
    suite, small_pool, tmp_path, methods, rule
):
    pools = {"same": [small_pool]}
    with pytest.raises(ValueError, match=rule):
        evaluate(suite, [small_pool], tmp_path, methods, ONCE, pools=pools)


@pytest.mark.slow
def test_oracle_picks_by_other_runs_than_it_tells(
    suite, small_pool, tmp_path, calls
):
    protocol = Protocol(**QUICK, repeats=1, runs=2)
    methods = ("baseline", "oracle")
    results = evaluate(suite, [small_pool], tmp_path, methods, protocol)
    for task in ("colours", "split"):
        seeds = {}
        for trial in calls:
            if trial.entry.name == task:
                seeds.setdefault(trial.module, set()).add(trial.seed)
        assert len(seeds) == 3  # each is looked at once
        assert all(2 in found for found in seeds.values())
        told = [run for run in results.runs if run.task == task]
        assert [run.method for run in told] == ["baseline"] * 2 + ["oracle"] * 2
        assert {run.details["seed"] for run in told} == {0, 1}
        trained = {m for m, found in seeds.items() if found == {0, 1, 2}}
        assert trained == {run.details["module"] for run in told}


def test_learning_rate_is_refused_where_a_sweep_chooses_it():
    with pytest.raises(ValueError, match="must be of the sweep 'hyperrule'"):
        Protocol("vtab", base_learning_rate=0.1)
    protocol = Protocol(num_images=640, base_learning_rate=0.1)
    assert protocol.recipes(1000, 0) == [
        {"batch_size": 512, "base_learning_rate": 0.1, "num_images": 640}
    ]


@pytest.mark.slow
def test_one_choice_with_the_baseline_serves_all_modules(
    suite, small_pool, tmp_path
):
    results = evaluate(
        suite,
        [small_pool],
        tmp_path / "out",
        ("baseline", "random"),
        Protocol("rates", 1, 2, **QUICK, swept="baseline"),
    )
    records = [
        json.loads(path.read_text())
        for path in (tmp_path / "out" / "trials").iterdir()
    ]
    tuning = [record for record in records if record["part"] == "tuning"]
    assert {Path(record["module"]).name for record in tuning} == {"module0"}
    assert len(tuning) == 2 * len(SMALL_RATES)
    modules = {run.details["module"] for run in results.runs}
    assert len(modules) > 1
    for task in ("colours", "split"):
        best = max(
            (record for record in tuning if record["task"] == task),
            key=lambda r: (
                r["accuracy"],
                -r["recipe"]["base_learning_rate"],
            ),
        )
        used = [r.details["recipe"] for r in results.runs if r.task == task]
        assert used and all(recipe == best["recipe"] for recipe in used)


def test_pool_without_a_baseline_has_none_to_choose_with(
    suite, small_pool, tmp_path
):
    module = str(Path(small_pool).parent / "module1")
    with pytest.raises(ValueError, match="baseline's hyperparameters"):
        evaluate(
            suite,
            [module],
            tmp_path / "out",
            ("knn",),
            Protocol("rates", 1, 1, **QUICK, swept="baseline"),
        )
    assert not (tmp_path / "out").exists()  # told before anything is run


@pytest.mark.slow
def test_baseline_that_cannot_be_trained_leaves_the_choice_to_the_next(
    suite, small_pool, tmp_path
):
    from keras_experts.selection.modules import Candidate

    def brightness(images):
        return np.asarray(images).mean((1, 2))

    function = Candidate("f", "f", "baseline", 4, function=brightness)
    results = evaluate(
        suite,
        [function, small_pool],
        tmp_path / "out",
        ("random",),
        Protocol("rates", 1, 1, **QUICK, swept="baseline"),
    )
    assert {run.task for run in results.runs} == {"colours", "split"}


def test_sweep_of_nothing_is_not_the_baseline_s():
    with pytest.raises(ValueError, match="nothing to choose. Received: 'base"):
        Protocol(swept="baseline")


def test_wrong_share_of_modules_to_sweep_is_refused():
    with pytest.raises(ValueError, match="each, baseline. Received: 'all'"):
        Protocol(swept="all")


@pytest.mark.slow
def test_choice_of_hyperparameters_reads_no_test_label(
    suite, small_pool, tmp_path, calls, monkeypatch
):
    """With the test labels turned round the same recipes are chosen."""
    from keras_experts.data import tasks

    def two(unit, seed):
        """One that learns nothing, and one that learns."""
        return [
            {"num_images": 320, "base_learning_rate": rate}
            for rate in (0.0, 50.0)
        ]

    monkeypatch.setitem(SWEEPS, "two", two)
    protocol = Protocol("two", 1, 1, **QUICK)
    chosen = []
    load = tasks.load_task

    def turned(*arguments):
        task = load(*arguments)
        return tasks.dataclasses.replace(
            task,
            test=tasks.dataclasses.replace(
                task.test, labels=task.test.labels[::-1].copy()
            ),
        )

    for number in range(2):
        results = evaluate(
            suite,
            [small_pool],
            tmp_path / str(number),
            ("baseline", "knn"),
            protocol,
        )
        chosen.append(
            [
                (r.task, r.method, r.details["module"], r.details["recipe"])
                for r in results.runs
            ]
        )
        monkeypatch.setattr("keras_experts.evaluation.suites.load_task", turned)
    assert chosen[0] == chosen[1] and len(chosen[0]) == 2 * 2
    told = [
        json.loads(path.read_text())
        for path in (tmp_path / "0" / "trials").iterdir()
    ]
    spread = []
    # Each choice is one with the highest accuracy on the 200.
    for task, _, module, recipe in chosen[0]:
        tuned = {
            json.dumps(record["recipe"]): record["accuracy"]
            for record in told
            if (record["task"], record["module"]) == (task, module)
            and record["part"] == "tuning"
        }
        assert len(tuned) == 2
        assert tuned[json.dumps(recipe)] == max(tuned.values())
        spread.append(len(set(tuned.values())))
    assert max(spread) == 2  # there was something to choose


@pytest.mark.slow
def test_trials_in_two_processes_are_those_of_one(suite, small_pool, tmp_path):
    protocol = Protocol("hyperrule", 2, 1, **QUICK)
    found = [
        evaluate(
            suite,
            [small_pool],
            tmp_path / str(number),
            ("baseline",),
            protocol,
            processes=number,
        )
        for number in (1, 2)
    ]
    accuracies = [[run.accuracy for run in r.runs] for r in found]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.02)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ([], "must have a `name` and a list of `tasks`"),
        ({"name": "a", "tasks": []}, "must have a `name` and a list"),
        ({"name": "a", "tasks": [{"group": "b"}]}, "must have a `task`"),
        (
            {"name": "a", "tasks": [{"task": "b", "metric": "f1"}]},
            "metric one of accuracy, mean_per_class",
        ),
        (
            {"name": "a", "tasks": [{"task": "b", "grp": "c"}]},
            "A task of a suite has group, label_column",
        ),
        (
            {"name": "a", "tasks": [{"task": "b:1.*.*"}, {"task": "b:2.*.*"}]},
            "must have different names. Received: b, b",
        ),
        (
            {"name": "a", "tasks": [{"task": "b", "num_examples": "all"}]},
            "num_examples a positive number or null",
        ),
        (
            {"name": "a", "tasks": [{"task": "b", "name": "../b"}]},
            "its name is of letters",
        ),
        (
            {"name": "a", "tasks": [{"task": "b", "group": "all"}]},
            "its group a text but 'all'",
        ),
    ],
)
def test_wrong_suite_is_refused_in_one_line(tmp_path, content, rule):
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rule):
        load_suite(str(path))


def test_suite_that_is_not_there_is_told(capfd):
    command = ["evaluate", "--suite", "vtab", "--modules", "m"]
    with pytest.raises(SystemExit) as error:
        cli.main([*command, "--output", "o"])
    code = error.value.code
    assert code == 2
    err = capfd.readouterr().err
    assert "A suite is vtab1k, dat or a JSON file" in err


def test_a_suite_names_the_columns_of_texts(tmp_path):
    rows = [f"text {number},{'ab'[number % 2]}" for number in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["said,by", *rows]))
    columns = {"text_column": "said", "label_column": "by"}
    content = {"name": "s", "tasks": [{"task": "t.csv", **columns}]}
    (tmp_path / "suite.json").write_text(json.dumps(content))
    (entry,) = load_suite(str(tmp_path / "suite.json")).entries
    assert entry.final(None).class_names == ["a", "b"]
