"""A selection as one self-contained page."""

import collections
import shlex
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts import templates
from keras_experts.data.tasks import Task
from keras_experts.mediums import TEXTS
from keras_experts.selection import charts
from keras_experts.selection.features import Features
from keras_experts.selection.modules import UNIT_RANGE
from keras_experts.selection.modules import Candidate
from keras_experts.selection.neighbors import nearest_neighbors
from keras_experts.selection.pool_strategies import told_of
from keras_experts.selection.ranking import Entry
from keras_experts.selection.ranking import Selection
from keras_experts.selection.statistics import Score

NUM_SHOWN = 30  # rows of a list; the others are folded
MOST_ROWS = 1000  # that are folded
MOST_POINTS = 1000  # of a projection
TEXT_LENGTH = 100  # characters shown of one
NUM_EXAMPLES = 24  # images with their neighbours


def write_report(
    path: str | Path,
    selection: Selection,
    task: Task,
    features: Features,
    indices: np.ndarray,
    candidates: Sequence[Candidate],
    scores: Mapping[str, Score],
    task_flags: Sequence[str] = (),
) -> None:
    """Writes a page that shows a selection and the reasons for it.

    The page needs no network and no other file, and runs no script.

    Args:
        path: file to write.
        selection: Selection.
        task: Task.
        features: Features. The picked module's and the baseline's are
            computed where they are missing, but not those of a baseline that
            a race eliminated.
        indices: int array `(n,)`. The task's images in the features.
        candidates: Candidate, all of the pool.
        scores: by handle; `per_example` of those that were scored on all
            images is in the task's order.
        task_flags: flags by which `finetune` finds the task, such as
            `("--task", "photos")`; its name where there are none.
    """
    page = _Page(selection, task, candidates, scores)
    content = templates.render(
        "selection.html.j2",
        selection=selection,
        best=page.best,
        baseline=page.baseline,
        is_kept=page.is_kept,
        candidates=page.candidates,
        shown=page.shown,
        points=page.points,
        place=charts.place,
        ranking=page.ranking(),
        classes=page.classes(),
        tree=page.tree(),
        steps=selection.race and charts.race_steps(selection.race.rounds),
        commands=page.commands(task_flags or ("--task", task.name)),
        **page.examples(features, np.asarray(indices)),
    )
    files.write_text(path, content)


def _folded(rows: list, extra: Sequence = ()) -> dict:
    """Splits rows into those that are shown and the others.

    Args:
        rows: list.
        extra: of the rows, what is shown wherever it stands.
    """
    first = [*rows[:NUM_SHOWN], *(r for r in rows[NUM_SHOWN:] if r in extra)]
    rest = [row for row in rows[NUM_SHOWN:] if row not in extra]
    return {
        "first": first,
        "rest": rest[:MOST_ROWS],
        "missing": max(0, len(rest) - MOST_ROWS),
    }


class _Page:
    """What the page shows, section by section."""

    def __init__(
        self,
        selection: Selection,
        task: Task,
        candidates: Sequence[Candidate],
        scores: Mapping[str, Score],
    ):
        self._selection = selection
        self._task = task
        self._scores = scores
        self.candidates = {c.handle: c for c in candidates}
        self.best = selection.best
        ranked = selection.ranking
        known = [e for e in ranked if self.candidates[e.module].is_baseline]
        self.is_kept = self.best in known
        # What leads are measured from is the first one that was ranked.
        self.baseline = known[0] if known else None

    def shown(self, value: float) -> str:
        """Formats a score."""
        is_share = self._selection.is_share
        return f"{value:.1%}" if is_share else f"{value:.4g}"

    def points(self, value: float, sign: str = "") -> str:
        """Formats a difference of scores, with "+" before it if asked."""
        if self._selection.is_share:
            return f"{100 * value:{sign}.1f}"
        return f"{value:{sign}.4g}"

    def ranking(self) -> dict:
        """Gives the entries with the axis of their bars."""
        ranked = self._selection.ranking
        folded = _folded(ranked, [self.baseline])
        ends = [
            end
            for entry in folded["first"]
            for end in (entry.score, *(entry.interval or ()))
            if np.isfinite(end)
        ] or [0.0]
        low, high = min(ends), max(ends)
        if self._selection.is_share and low < high / 2:
            low = 0.0  # bars that begin there are easier to compare
        counts = collections.Counter(entry.expert for entry in ranked)
        return {
            **folded,
            "axis": charts.ticks(low, high),
            "order": {e.module: i for i, e in enumerate(ranked, start=1)},
            # Of several pools, names alone do not tell which is meant.
            "doubles": [name for name in counts if counts[name] > 1],
        }

    def classes(self) -> dict | None:
        """Compares the accuracy over classes, the largest difference first."""
        labels = self._task.train.labels
        compared = [self.best]
        if self.baseline is not None and not self.is_kept:
            compared.append(self.baseline)
        correct = [self._correct(entry) for entry in compared]
        if correct[0] is None:
            return None
        correct = [values for values in correct if values is not None]
        rows = []
        for label in np.unique(labels):
            shares = [float(v[labels == label].mean()) for v in correct]
            rows.append(
                {
                    "name": self._task.class_names[label],
                    "count": np.count_nonzero(labels == label),
                    "shares": shares,
                    "difference": shares[0] - shares[-1],
                }
            )
        rows.sort(key=lambda row: (-abs(row["difference"]), row["shares"][0]))
        return {"is_pair": len(correct) > 1, **_folded(rows)}

    def _correct(self, entry: Entry) -> np.ndarray | None:
        """Gives for each image whether it was right, if all were scored."""
        values = self._scores[entry.module].per_example
        if not self._selection.is_share or values is None:
            return None
        return values if len(values) == self._selection.num_examples else None

    def tree(self) -> dict | None:
        """Puts experts below those whose part of the hierarchy holds theirs."""
        parents, inside = self._hierarchy()
        if not any(above in parents for p in parents.values() for above in p):
            return None
        entries = [entry for group in inside.values() for entry in group]
        root = [] if self.baseline is None else [self.baseline]
        finite = [
            e.score for e in [*entries, *root] if np.isfinite(e.score)
        ] or [0.0]
        low, high = min(finite), max(finite)

        def shade(score: float) -> dict[str, str]:
            share = (score - low) / ((high - low) or 1.0)
            return charts.shade(min(max(share, 0.0), 1.0))

        return {
            "root": root,
            "rows": charts.tree_rows(parents),
            "inside": inside,
            "ends": [low, high],
            "shade": shade,
        }

    def _hierarchy(self) -> tuple[dict[str, list], dict[str, list[Entry]]]:
        """Gives of each domain those above it, and its experts."""
        parents: dict[str, list] = {}
        inside: dict[str, list[Entry]] = {}
        # Nothing is downloaded for this alone.
        are_here = self._selection.computed or self._selection.cached
        for entry in self._selection.ranking:
            if not are_here and "://" in entry.module:
                continue
            try:
                told = told_of(self.candidates[entry.module])
            except (OSError, ValueError):
                continue
            # Of a bank's expert, only the name was checked.
            domain, above = told.get("domain"), told.get("parents")
            if isinstance(domain, str) and isinstance(above, list):
                above = [p for p in above if isinstance(p, str) and p != domain]
                parents.setdefault(domain, above)
                inside.setdefault(domain, []).append(entry)
        return parents, inside

    def examples(self, features: Features, indices: np.ndarray) -> dict:
        """Gives the projections and the images with their neighbours."""
        compared = [self.best]
        if self.baseline is not None and not self.is_kept:
            # What a race eliminated has not seen all images.
            if self.baseline.examples == self.best.examples:
                compared.append(self.baseline)
        rows = []
        for entry in compared:
            try:
                found = features.get(self.candidates[entry.module], indices)
            except ValueError:
                continue
            rows.append((entry.expert, found))
        if not rows:
            return {"projection": None, "pairs": None}
        return {
            "projection": self._projection(rows),
            "pairs": self._pairs(rows),
        }

    def _projection(self, rows: list[tuple[str, np.ndarray]]) -> dict:
        labels = self._task.train.labels
        number = min(len(labels), MOST_POINTS)
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.choice(len(labels), number, replace=False))
        labels = labels[chosen]
        counts = np.bincount(labels)
        most = np.argsort(-counts, kind="stable")[: charts.NUM_MARKS]
        marked = [int(label) for label in most if counts[label]]
        if len(marked) == np.count_nonzero(counts):
            marked.sort()
        plots = []
        for name, values in rows:
            places, share = charts.project(values[chosen])
            paths = charts.scatter(places, labels, marked)
            plots.append({"name": name, "share": share, "paths": paths})
        return {
            "plots": plots,
            "number": number,
            "legend": [
                {"label": label, "count": counts[label], **charts.mark(order)}
                for order, label in enumerate(marked)
            ],
            "others": np.count_nonzero(counts) - len(marked),
            "names": self._task.class_names,
        }

    def _pairs(self, rows: list[tuple[str, np.ndarray]]) -> dict:
        """Picks images that the neighbours' classes are right or wrong for."""
        labels = self._task.train.labels
        names = [name for name, _ in rows]
        nearest = [nearest_neighbors(values)[:, 0] for _, values in rows]
        right = [labels[near] == labels for near in nearest]
        if len(names) == 1:
            kinds = {"Right": right[0], "Wrong": ~right[0]}
        else:
            kinds = {
                f"Only {names[0]} is right": right[0] & ~right[1],
                f"Only {names[1]} is right": ~right[0] & right[1],
                "Both are right": right[0] & right[1],
                "Both are wrong": ~right[0] & ~right[1],
            }
        rng = np.random.default_rng(0)
        groups = []
        for title, is_kind in kinds.items():
            chosen = rng.permutation(np.flatnonzero(is_kind))
            chosen = chosen[: NUM_EXAMPLES // len(kinds)]
            trios = np.stack([chosen, *(near[chosen] for near in nearest)], 1)
            groups.append(
                {"title": title, "count": is_kind.sum(), "trios": trios}
            )
        used = np.unique(np.concatenate([g["trios"].ravel() for g in groups]))
        images = self._task.train.read(used)
        return {
            "groups": groups,
            "names": names,
            "labels": [self._task.class_names[label] for label in labels],
            "thumbnails": {
                int(index): charts.thumbnail(image)
                for index, image in zip(used, images, strict=True)
            },
            "texts": self._texts(used),
        }

    def _texts(self, used: np.ndarray) -> dict[int, str]:
        """Gives the beginnings of texts; of images nothing."""
        if self._task.medium != TEXTS:
            return {}
        found = zip(used, self._task.train.read(used), strict=True)
        return {int(i): text.decode()[:TEXT_LENGTH] for i, text in found}

    def commands(self, task_flags: Sequence[str]) -> list[str] | None:
        """Gives what to run next; None where the pick is a function."""
        candidate = self.candidates[self.best.module]
        if candidate.function is not None:
            return None
        finetune = ["keras-experts", "finetune", "--module", candidate.handle]
        finetune += [*task_flags, "--output", "finetuned"]
        if candidate.image_size is not None:
            finetune += ["--image_size", str(candidate.image_size)]
        if candidate.input_range != UNIT_RANGE:
            values = map(str, candidate.input_range)
            finetune += ["--input_range", *values]
        predict = ["keras-experts", "predict", "--model", "finetuned"]
        example = "TEXTS.csv" if self._task.medium == TEXTS else "IMAGE.jpg"
        return [shlex.join(finetune), shlex.join([*predict, example])]
