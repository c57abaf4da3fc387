"""Figures of docs/study.md."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from keras_experts.evaluation.results import BASELINE

FOLDER = Path(__file__).parent.parent / "docs" / "study"
ACROSS = 4  # scatter plots side by side
# The same bytes for the same figures.
plt.rcParams.update({"svg.hashsalt": "study", "font.size": 9})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})


def _save(figure, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(
        FOLDER / f"{name}.svg", bbox_inches="tight", metadata={"Date": None}
    )
    plt.close(figure)


def over_the_baseline(leads: dict[str, list[float]], name: str) -> None:
    """Draws each method's lead in points: a dot a task, a bar for the mean."""
    figure, axes = plt.subplots(figsize=(7, 0.28 * len(leads) + 0.9))
    for place, values in enumerate(leads.values()):
        spread = place + np.linspace(-0.2, 0.2, len(values))
        axes.barh(place, np.mean(values), color="#7fb5b0", height=0.7, zorder=1)
        axes.scatter(values, spread, s=9, color="#37474f", zorder=2)
    axes.axvline(0, color="#37474f", linewidth=0.8)
    axes.set_yticks(range(len(leads)), list(leads))
    axes.invert_yaxis()
    axes.set_xlabel("points over the baseline, fine-tuned; a dot is a task")
    _save(figure, name)


def heat(picks: dict) -> None:
    """Draws of each task the lead of each module's nearest neighbours."""
    tasks = list(picks)
    names = sorted(
        set.union(*(set(picks[task]["neighbours"]) for task in tasks))
        - {BASELINE}
    )
    shares = np.array(
        [
            [
                100
                * (
                    picks[task]["neighbours"].get(name, np.nan)
                    - picks[task]["neighbours"][BASELINE]
                )
                for task in tasks
            ]
            for name in names
        ]
    )
    figure, axes = plt.subplots(figsize=(0.42 * len(tasks) + 2, len(names) / 7))
    end = np.nanmax(np.abs(shares))
    image = axes.imshow(shares, cmap="BrBG", vmin=-end, vmax=end, aspect="auto")
    axes.set_xticks(range(len(tasks)), tasks, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names, fontsize=6)
    best = np.nanargmax(shares, axis=0)
    axes.scatter(range(len(tasks)), best, s=14, color="#263238")
    figure.colorbar(image, label="points over the baseline, leave-one-out")
    _save(figure, "neighbours")


def scatter(picks: dict, tuned: dict[str, dict], name: str) -> None:
    """Draws neighbours' against fine-tuned accuracies of every module."""
    rows, columns = -(-len(tuned) // ACROSS), min(len(tuned), ACROSS)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(2.4 * columns, 2.5 * rows),
        squeeze=False,
        layout="constrained",
    )
    for axes in grid.flat[len(tuned) :]:
        axes.axis("off")
    for axes, (task, modules) in zip(grid.flat, tuned.items(), strict=False):
        near = np.array([picks[task]["neighbours"][m] for m in modules])
        fine = np.array(list(modules.values()))
        axes.scatter(100 * near, 100 * fine, s=8, color="#7fb5b0")
        base = list(modules).index(BASELINE)
        axes.scatter(100 * near[base], 100 * fine[base], s=24, color="#c62828")
        axes.set_title(task, fontsize=9)
        axes.set_xlabel("neighbours, %")
    for axes in grid[:, 0]:
        axes.set_ylabel("fine-tuned, %; red: baseline")
    _save(figure, name)
