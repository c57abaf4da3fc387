"""Tables and figures of docs/study.md, from study/results and study/trials.

`make report` runs it.
"""

import dataclasses
from pathlib import Path

import numpy as np
from scipy import stats

from keras_experts import files
from keras_experts.evaluation.results import BASELINE
from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import read_results
from keras_experts.evaluation.statistics import Summary
from keras_experts.evaluation.tables import make_tables
from keras_experts.evaluation.tables import shown
from keras_experts.evaluation.trials import TUNING
from study.feature_tables import few
from study.feature_tables import together
from study.feature_tables import within
from study.pages import fill
from study.pages import interval
from study.pages import table
from study.ranking_tables import accuracies
from study.ranking_tables import always
from study.ranking_tables import final
from study.ranking_tables import medians
from study.ranking_tables import neighbours
from study.ranking_tables import trained

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "study.md"
# Methods that the paper compares with one another.
DUELS = (
    ("knn", "random"),
    ("knn@nodes", "random@nodes"),
    ("knn@full", "random@full"),
    ("knn", "label_matching"),
    ("knn", "domain_prediction"),
    ("knn", "logistic"),
    ("knn", "logme"),
    ("knn@nodes", "knn@full"),
    ("knn", "knn@nodes"),
    ("knn@nodes", "knn@random"),
    ("knn@full", "knn@random"),
    ("knn@nodes", "label_matching@nodes"),
    ("knn@full", "label_matching@full"),
    ("knn@full", "domain_prediction@full"),
    ("domain_prediction@full", "random@full"),
)
RESULTS = HERE / "results"
# The studies: of the network that fits its data, and of one that is too small.
LARGE, SMALL = "methods", "small_methods"
# The small one again: all modules on four tasks, new runs of natural tasks, and
# images of twice the side.
ORACLE, AGAIN, LARGER = "small_oracle", "small_again", "small_larger"
TRIALS = {
    LARGE: HERE / "trials",
    SMALL: HERE / "trials_small",
    ORACLE: HERE / "trials_small",
    AGAIN: HERE / "trials_small",
    LARGER: HERE / "trials_larger",
}


def main() -> None:
    from study import figures

    large, small = read(LARGE), read(SMALL)
    for name, text in tables(large, small).items():
        fill(PAGE, name, text)
    for start, (summary, *_) in (("", large), ("small_", small)):
        figures.over_the_baseline(
            {m: leads(summary, m) for m in methods_of(summary)},
            f"{start}over_the_baseline",
        )
    # Of the small network every whole one was trained on every task.
    _, picks, trials = small
    figures.scatter(
        picks,
        accuracies(trials, picks, "full"),
        "small_neighbours_and_fine_tuned",
    )
    figures.heat(large[1])


Study = tuple[Summary, dict, list[dict]]


def read(study: str) -> Study:
    """Gives the results, what was picked, and all trainings."""
    results = read_results(RESULTS / f"{study}.json")
    run = {one.task for one in results.runs}
    tasks = tuple(task for task in results.tasks if task.name in run)
    return (
        Summary(dataclasses.replace(results, tasks=tasks)),
        files.read_json(RESULTS / f"{study}_picks.json"),
        [
            files.read_json(path)
            for path in sorted(TRIALS[study].glob("*.json"))
        ],
    )


def tables(large: Study, small: Study) -> dict[str, str]:
    """Gives of each place of the page what stands there."""
    summary, picks, trials = large
    return {
        "extent": extent(summary.results, trials),
        "rates": rates(summary.results, trials),
        "upstream": upstream(files.read_json(HERE / "upstream.json")),
        "groups": groups(summary),
        "sure": sure(summary),
        "duels": duels(summary),
        "tasks": tasks(summary),
        "picks": picked(summary.results, picks),
        "trained": trained(picks, medians(trials)),
        "few": few(files.read_json(RESULTS / "few.json")),
        **together(files.read_json(RESULTS / "combined.json")),
        **tables_of_small(*small),
        **tables_of_larger(*read(LARGER)),
    }


def tables_of_small(
    summary: Summary, picks: dict, trials: list[dict]
) -> dict[str, str]:
    """Gives the same of the network that is too small for its data."""
    experts = files.read_json(RESULTS / "small_upstream.json")
    minutes = sum(row["seconds"] for row in experts) / 60
    return {
        "small_extent": f"{extent(summary.results, trials)} Before that, "
        f"{minutes:.0f} minutes of both cores for baseline and experts.",
        "small_rates": rates(summary.results, trials),
        "small_upstream": upstream(experts),
        "small_few": few(files.read_json(RESULTS / "small_few.json")),
        "within": within(files.read_json(RESULTS / "within.json")),
        "small_groups": groups(summary),
        "small_sure": sure(summary),
        "small_duels": duels(summary),
        "small_by_lot": by_lot(summary, accuracies(trials, picks, "full")),
        "small_tasks": tasks(summary),
        "small_picks": picked(summary.results, picks),
        "small_trained": trained(picks, medians(trials)),
        "small_always": always(medians(trials)),
        "small_oracle": groups(read(ORACLE)[0]),
        "small_again": groups(again(read(AGAIN)[0].results, summary.results)),
        "small_neighbours": neighbours(picks, accuracies(trials, picks)),
        "small_full_neighbours": neighbours(
            picks, accuracies(trials, picks, "full")
        ),
    }


def again(more: Results, first: Results) -> Summary:
    """Gives the runs that nobody saw before it was known what leads.

    That is neither the first ones nor the next, by which the oracle picks.
    Each task is a group of its own.
    """
    seen = first.protocol["runs"]
    apart = [dataclasses.replace(t, group=t.name) for t in more.tasks]
    runs = [one for one in more.runs if one.run > seen]
    new = {"tasks": tuple(apart), "runs": tuple(runs)}
    return Summary(dataclasses.replace(more, **new))


def tables_of_larger(
    summary: Summary, _: dict, trials: list[dict]
) -> dict[str, str]:
    """Gives the same of images of twice the side."""
    return {
        "larger_extent": extent(summary.results, trials),
        "larger_groups": groups(summary),
        "larger_tasks": tasks(summary),
    }


def methods_of(summary: Summary) -> list[str]:
    return [m for m in summary.results.methods if m != BASELINE]


def leads(summary: Summary, method: str, other: str = BASELINE) -> list[float]:
    """Gives a method's lead over another on each task, in points."""
    found = []
    for task in summary.results.tasks:
        ours = summary.task(method, task.name)
        theirs = summary.task(other, task.name)
        if ours and theirs:
            found.append(100 * (ours.value - theirs.value))
    return found


def extent(results: Results, trials: list[dict]) -> str:
    """Tells how much was run, on tasks that were run to their end."""
    names = {task.name for task in results.tasks}
    trials = [trial for trial in trials if trial["task"] in names]
    hours = sum(trial.get("seconds", 0) for trial in trials) / 3600
    modules = {trial["module"] for trial in trials}
    return (
        f"{len(results.tasks)} tasks, {len(modules)} modules, "
        f"{len(final(trials))} trainings of {results.protocol['num_images']:,} "
        f"images and {len(trials) - len(final(trials))} to choose rates, in "
        f"{hours:.1f} hours of one core each."
    )


def rates(results: Results, trials: list[dict]) -> str:
    """Makes the table of the rates that each task could have."""
    found: dict[str, dict[float, float]] = {}
    for trial in trials:
        if trial["part"] == TUNING:
            rate = trial["recipe"]["base_learning_rate"]
            here = found.setdefault(trial["task"], {})
            here[rate] = trial.get("accuracy", 0.0)
    known = sorted({rate for here in found.values() for rate in here})
    rows = [
        [task.name, *(f"{100 * found[task.name][rate]:.1f}" for rate in known)]
        for task in results.tasks
    ]
    return table(["task", *(f"{rate:g}" for rate in known)], rows)


def upstream(experts: list[dict]) -> str:
    """Tells how much better experts are on their own images."""
    kinds: dict[str, list[float]] = {}
    for expert in experts:
        if "slice_top1" in expert:
            first = expert["name"].split("_")[0]
            images = first if first in ("cluster", "random") else "node"
            lead = expert["slice_top1"] - expert["slice_top1_baseline"]
            kind = f"{expert['kind']}, {images}"
            kinds.setdefault(kind, []).append(100 * lead)
    rows = [
        [
            kind,
            str(len(found)),
            f"{np.mean(found):+.1f}",
            f"{min(found):+.1f} to {max(found):+.1f}",
        ]
        for kind, found in kinds.items()
    ]
    return table(["experts", "number", "mean lead", "leads"], rows)


def groups(summary: Summary) -> str:
    """Makes the headline: methods in groups of tasks, and their leads."""
    of_groups, _, differences, *_ = make_tables(summary)
    head = ["method", *of_groups.columns, "over the baseline", "over tasks"]
    rows = []
    for method, row in of_groups.rows.items():
        cells = [shown(cell) for cell in row]
        if method in differences.rows:
            cells.append(shown(differences.rows[method][-1], True))
            cells.append(interval(leads(summary, method)))
        else:
            cells += ["", ""]
        rows.append([method, *cells])
    return table(head, rows)


def sure(summary: Summary) -> str:
    """Tells whose lead over tasks stays if all methods are counted (Holm)."""
    found = {method: leads(summary, method) for method in methods_of(summary)}
    chances = {
        method: float(stats.ttest_1samp(values, 0).pvalue)
        for method, values in found.items()
        if len(values) >= 3 and np.std(values)
    }
    named = []
    for place, method in enumerate(sorted(chances, key=chances.get)):
        chance = chances[method] * (len(chances) - place)
        if chance >= 0.05:
            break
        named.append(f"{method} (p = {chance:.2g})")
    return (
        f"Of {len(chances)} methods' leads over tasks these are told apart "
        "from zero if all are counted (Holm): "
        f"{', '.join(named) or 'none'}."
    )


def duels(summary: Summary) -> str:
    """Compares methods with one another, over tasks."""
    rows = []
    for ours, theirs in DUELS:
        found = leads(summary, ours, theirs)
        if found:
            mean = f"{np.mean(found):+.1f}"
            rows.append([ours, theirs, mean, interval(found)])
    return table(["method", "against", "points", "over tasks"], rows)


def by_lot(summary: Summary, tuned: dict[str, dict]) -> str:
    """Compares methods with what a module drawn by lot would have.

    Args:
        summary: Summary.
        tuned: dict of tasks to modules' accuracies, as `accuracies` gives.
    """
    rows = []
    for method in ("knn@full", "logme@full", "domain_prediction@full"):
        found = [
            100 * (summary.task(method, task).value - np.mean([*own.values()]))
            for task, own in tuned.items()
        ]
        rows.append([method, f"{np.mean(found):+.1f}", interval(found)])
    return table(["method", "points", "over tasks"], rows)


def tasks(summary: Summary) -> str:
    """Makes the table of medians by task."""
    names = [task.name for task in summary.results.tasks]
    rows = []
    for method in summary.results.methods:
        medians = [summary.task(method, name) for name in names]
        cells = [f"{100 * m.value:.1f}" if m else "-" for m in medians]
        rows.append([method, *cells])
    return table(["method", *names], rows)


def picked(results: Results, picks: dict) -> str:
    """Makes the table of the modules that methods picked."""
    told = ("knn@nodes", "knn@full", "knn@clusters", "label_matching@nodes")
    told += ("domain_prediction@nodes", "domain_prediction@full")
    told += ("name_matching", "logistic", "logme")
    told = [method for method in told if method in results.methods]
    rows = [
        [task.name, *(picks[task.name]["picked"].get(m, "-") for m in told)]
        for task in results.tasks
    ]
    return table(["task", *told], rows)


if __name__ == "__main__":
    main()
