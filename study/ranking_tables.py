"""Tables of docs/study.md of neighbours against fine-tuned accuracies."""

import numpy as np
from scipy import stats

from keras_experts.evaluation.results import BASELINE
from keras_experts.evaluation.trials import FINAL
from study.keep import short
from study.pages import interval
from study.pages import spread
from study.pages import table


def final(trials: list[dict]) -> list[dict]:
    """Gives the trainings on all training images."""
    return [trial for trial in trials if trial["part"] == FINAL]


def medians(trials: list[dict]) -> dict[str, dict[str, float]]:
    """Gives of each task the accuracies of the modules that were trained."""
    found: dict[str, dict[str, list]] = {}
    for trial in final(trials):
        here = found.setdefault(trial["task"], {})
        name = short(trial["module"])
        here.setdefault(name, []).append(trial.get("accuracy", 0.0))
    return {
        task: {m: float(np.median(values)) for m, values in modules.items()}
        for task, modules in found.items()
    }


def accuracies(
    trials: list[dict], picks: dict, kind: str = ""
) -> dict[str, dict]:
    """Gives the accuracies of tasks on which every module was trained.

    Every one of a kind, that is; of all kinds without one.
    """
    tuned = medians(trials)
    pool = {
        task: {
            m
            for m in known["neighbours"]
            if m == BASELINE or m.endswith(kind) and not m.startswith("random_")
        }
        for task, known in picks.items()
    }
    return {
        task: {m: tuned[task][m] for m in sorted(pool[task])}
        for task in pool
        if pool[task] <= tuned.get(task, {}).keys()
    }


def trained(picks: dict, tuned: dict[str, dict]) -> str:
    """Correlates neighbours with fine-tuned accuracies of some modules."""
    rows = []
    for task, known in picks.items():
        modules = sorted(known["neighbours"].keys() & tuned.get(task, {}))
        rank = stats.spearmanr(
            [known["neighbours"][m] for m in modules],
            [tuned[task][m] for m in modules],
        )
        rows.append([task, str(len(modules)), f"{rank.statistic:+.2f}"])
    values = np.array([float(row[2]) for row in rows])
    low, high = spread(values)
    told = f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f} over tasks)"
    rows.append(["mean", "", told])
    return table(["task", "modules", "rank correlation"], rows)


def neighbours(picks: dict, tuned: dict[str, dict]) -> str:
    """Compares neighbours with fine-tuned accuracies, where all are known."""
    rows = []
    for task, modules in tuned.items():
        near = [picks[task]["neighbours"][m] for m in modules]
        fine = list(modules.values())
        rank = stats.spearmanr(near, fine)
        best, pick = max(fine), fine[int(np.argmax(near))]
        rows.append(
            [
                task,
                str(len(modules)),
                f"{rank.statistic:.2f} (p = {rank.pvalue:.2g})",
                f"{100 * modules['baseline']:.1f}",
                f"{100 * np.mean(fine):.1f}",
                f"{100 * pick:.1f}",
                f"{100 * best:.1f}",
                f"{100 * (best - pick):.1f}",
            ]
        )
    head = ["task", "modules", "rank correlation", "baseline", "mean of all"]
    return table([*head, "neighbours' pick", "best", "regret"], rows)


def always(tuned: dict[str, dict]) -> str:
    """Tells how good each module is that was trained on every task.

    Args:
        tuned: dict of tasks to modules' accuracies, as `medians` gives.
    """
    everywhere = set.intersection(*map(set, tuned.values())) - {BASELINE}
    found = {
        module: [
            100 * (task[module] - task[BASELINE]) for task in tuned.values()
        ]
        for module in everywhere
    }
    rows = [
        [module, f"{np.mean(leads):+.1f}", interval(leads)]
        for module, leads in found.items()
    ]
    rows.sort(key=lambda row: (-np.mean(found[row[0]]), row[0]))
    return table(["on all tasks", "over the baseline", "over tasks"], rows)
