"""Tables of docs/study.md about features, where nothing is fine-tuned."""

import numpy as np
from scipy import stats

from study.pages import interval
from study.pages import table


def few(content: dict) -> str:
    """Makes the table of picks by few images, over tasks."""
    found = content["leads"]
    rows = []
    for number in sorted({row["number"] for row in found}):
        cells = [str(number)]
        for what in ("on_drawn", "neighbour", "linear"):
            by_task: dict[str, list] = {}
            for row in found:
                if row["number"] == number:
                    by_task.setdefault(row["task"], []).append(row[what])
            means = 100 * np.array([np.mean(v) for v in by_task.values()])
            cells.append(f"{means.mean():+.2f} ± {stats.sem(means):.2f}")
        rows.append(cells)
    head = ["images that pick", "lead on these", "neighbour on others"]
    return table([*head, "linear on others"], rows)


def within(content: dict) -> str:
    """Makes the table of experts among the classes of their own images."""
    kinds: dict[tuple[str, str], list[dict]] = {}
    for network, experts in content.items():
        for row in experts:
            kinds.setdefault((network, row["kind"]), []).append(row)
    rows = []
    for (network, kind), found in sorted(kinds.items()):
        ours, theirs = (
            100 * np.array([row[what] for row in found])
            for what in ("expert", "baseline")
        )
        leads = ours - theirs
        means = [f"{theirs.mean():.1f}", f"{ours.mean():.1f}"]
        mean, ends = f"{leads.mean():+.1f}", (leads.min(), leads.max())
        spread = "{:+.1f} to {:+.1f}".format(*ends)
        rows.append([network, kind, str(len(found)), *means, mean, spread])
    head = [
        "network",
        "experts",
        "number",
        "baseline",
        "expert",
        "mean lead",
        "leads",
    ]
    return table(head, rows)


def together(content: dict) -> dict[str, str]:
    """Makes the tables of experts side by side."""
    greedy, linear = [], []
    shares = ["baseline", "best", "accuracy"]
    shares += [f"{of}_honest_accuracy" for of in ("baseline", "single")]
    shares.append("honest_accuracy")
    for task, found in content.items():
        shown = [f"{100 * found[name]:.1f}" for name in shares]
        greedy.append([task, ", ".join(found["modules"]), *shown])
        probes = [f"{100 * v:.1f}" for v in found["linear"].values()]
        linear.append([task, *probes])
    names = list(next(iter(content.values()))["linear"])
    means = [
        np.mean([found["linear"][name] for found in content.values()])
        for name in names
    ]
    linear.append(["mean", *(f"{100 * mean:.1f}" for mean in means)])
    leads = [
        [what, f"{np.mean(found):+.2f}", interval(found)]
        for what, found in (
            ("best one, all images", _over(content, "", "")),
            ("best one, halves", _over(content, "honest_", "single_honest_")),
            ("baseline, halves", _over(content, "honest_", "baseline_honest_")),
        )
    ]
    head = ["task", "side by side", "baseline", "best one", "these"]
    head += ["halves: baseline", "best one", "several"]
    return {
        "greedy": table(head, greedy),
        "gain": table(["several over the", "points", "over tasks"], leads),
        "linear": table(["task", *names], linear),
    }


def _over(content: dict, ours: str, theirs: str) -> list[float]:
    """Gives several experts' lead on each task, in points."""
    other = f"{theirs}accuracy" if theirs else "best"
    return [
        100 * (found[f"{ours}accuracy"] - found[other])
        for found in content.values()
    ]
