"""A selection as one self-contained page."""

import collections
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts import templates
from keras_experts.data.tasks import Task
from keras_experts.mediums import TEXTS
from keras_experts.selection import charts
from keras_experts.selection import conclusion
from keras_experts.selection import statistics
from keras_experts.selection.descriptions import describe
from keras_experts.selection.features import Features
from keras_experts.selection.modules import Candidate
from keras_experts.selection.next_command import OUTPUT
from keras_experts.selection.pool_strategies import told_of
from keras_experts.selection.proxies import logistic_correct
from keras_experts.selection.ranking import Entry
from keras_experts.selection.ranking import Selection
from keras_experts.selection.report_examples import show_examples
from keras_experts.selection.statistics import Score

NUM_SHOWN = 30  # rows of a list; the others are folded
MOST_ROWS = 1000  # that are folded


def write_report(
    path: str | Path,
    selection: Selection,
    task: Task,
    features: Features,
    indices: np.ndarray,
    candidates: Sequence[Candidate],
    scores: Mapping[str, Score],
    groups: np.ndarray | None = None,
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
        indices: int array `(n,)`. Positions of the task's images in the
            features.
        candidates: Candidate, all of the pool.
        scores: by handle; `per_example` of those that were scored on all
            images is in the task's order.
        groups: int array `(n,)`, equal for exact copies, or None for none.
    """
    page = _Page(selection, task, candidates, scores, groups)
    rows = page.compared_features(features, np.asarray(indices))
    content = templates.render(
        "selection.html.j2",
        selection=selection,
        conclusion=selection.conclusion,
        p_value=conclusion.format_p_value,
        best=page.best,
        baseline=page.baseline,
        is_kept=page.is_kept,
        candidates=page.candidates,
        shown=page.shown,
        points=page.points,
        place=charts.place,
        ranking=page.ranking(),
        eliminated=page.eliminated(),
        descriptions=page.descriptions(),
        linear=page.linear(rows),
        classes=page.classes(),
        tree=page.tree(),
        steps=selection.race and charts.race_steps(selection.race.rounds),
        predict=f"keras-experts predict --model {OUTPUT} "
        + ("TEXTS.csv" if task.medium == TEXTS else "IMAGE.jpg"),
        **show_examples(task, rows, groups),
    )
    files.write_text(path, content)


def _folded(rows: list, extra: Sequence = ()) -> dict:
    """Splits rows into those that are shown and those that are folded.

    Args:
        rows: list.
        extra: rows that are shown wherever they stand.
    """
    first = [*rows[:NUM_SHOWN], *(r for r in rows[NUM_SHOWN:] if r in extra)]
    rest = [row for row in rows[NUM_SHOWN:] if row not in extra]
    return {
        "first": first,
        "rest": rest[:MOST_ROWS],
        "missing": max(0, len(rest) - MOST_ROWS),
    }


class _Page:
    """The content of the page, section by section."""

    def __init__(
        self,
        selection: Selection,
        task: Task,
        candidates: Sequence[Candidate],
        scores: Mapping[str, Score],
        groups: np.ndarray | None,
    ):
        self._selection = selection
        self._task = task
        self._scores = scores
        self._groups = groups
        self.candidates = {c.handle: c for c in candidates}
        self.best = selection.best
        ranked = selection.ranking
        baselines = [e for e in ranked if self.candidates[e.module].is_baseline]
        self.is_kept = self.best in baselines
        # Gains are measured from the first one that was ranked.
        self.baseline = baselines[0] if baselines else None
        # Scores on fewer images cannot be compared with the others.
        self._ranked = [e for e in ranked if e.examples == self.best.examples]

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
        """Returns the entries that were not eliminated, and their axis."""
        ranked = self._ranked
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
        names = [entry.expert for entry in self._selection.ranking]
        counts = collections.Counter(names)
        return {
            **folded,
            "axis": charts.ticks(low, high),
            "order": {e.module: i for i, e in enumerate(ranked, start=1)},
            # Names alone do not identify modules of several pools.
            "doubles": [name for name in counts if counts[name] > 1],
        }

    def eliminated(self) -> dict:
        """Returns the entries that a race eliminated, the last ones first."""
        return _folded([e for e in self._selection.ranking if self.is_out(e)])

    def is_out(self, entry: Entry) -> bool:
        """Returns whether a module was eliminated before the end."""
        return entry.examples < self.best.examples

    def descriptions(self) -> dict[str, str]:
        """Returns by module what experts without a node were trained on."""
        found = {}
        for entry in self._local_entries():
            try:
                description = describe(self.candidates[entry.module])
            except (OSError, ValueError):
                continue  # an optional text must not prevent the page
            if description is not None:
                found[entry.module] = description
        return found

    def compared_features(
        self, features: Features, indices: np.ndarray
    ) -> list[tuple[Entry, np.ndarray]]:
        """Returns the pick and the baseline with their features."""
        compared = [self.best]
        if self.baseline is not None and not self.is_kept:
            if not self.is_out(self.baseline):
                compared.append(self.baseline)
        rows = []
        for entry in compared:
            try:
                values = features.get(self.candidates[entry.module], indices)
            except ValueError:
                continue  # it is among the skipped modules
            rows.append((entry, values))
        return rows

    def linear(self, rows: list[tuple[Entry, np.ndarray]]) -> dict | None:
        """Cross-validates a linear classifier on the pick's features.

        Copies of an image are in the same fold.

        Returns:
            dict: `scores` by module, and `gain` over the baseline with its
            `error`, or None; None if there is nothing to train on.
        """
        train = self._task.train
        scores = {}
        for entry, values in rows:
            try:
                correct = logistic_correct(
                    values, train.labels, groups=self._groups
                )
            except ValueError:
                return None  # features that are not finite
            scores[entry.module] = statistics.mean_score(
                correct, groups=self._groups
            )
        if not scores:
            return None
        gain = error = None
        if len(scores) == 2:
            gain, error = statistics.paired_difference(*scores.values())
        return {
            "scores": {
                module: (score.value, statistics.interval_95(score))
                for module, score in scores.items()
            },
            "gain": gain,
            "error": error,
        }

    def classes(self) -> dict | None:
        """Returns the accuracy of each class, largest difference first."""
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
        """Returns whether each image was right, if all were scored."""
        values = self._scores[entry.module].per_example
        if not self._selection.is_share or values is None:
            return None
        return values if len(values) == self._selection.num_examples else None

    def tree(self) -> dict | None:
        """Returns experts below those whose domain contains theirs."""
        parents, inside = self._hierarchy()
        if not any(above in parents for p in parents.values() for above in p):
            return None
        root = [] if self.baseline is None else [self.baseline]
        scores = [
            e.score
            for e in (*(e for group in inside.values() for e in group), *root)
            if np.isfinite(e.score) and not self.is_out(e)
        ] or [0.0]
        low, high = min(scores), max(scores)

        def shade(score: float) -> dict[str, str]:
            fraction = (score - low) / ((high - low) or 1.0)
            return charts.shade(min(max(fraction, 0.0), 1.0))

        return {
            "root": root,
            "rows": charts.tree_rows(parents),
            "inside": inside,
            "ends": [low, high],
            "shade": shade,
            "is_out": self.is_out,
        }

    def _hierarchy(self) -> tuple[dict[str, list], dict[str, list[Entry]]]:
        """Returns the parents of each domain, and its experts."""
        parents: dict[str, list] = {}
        inside: dict[str, list[Entry]] = {}
        for entry in self._local_entries():
            try:
                metadata = told_of(self.candidates[entry.module])
            except (OSError, ValueError):
                continue
            # Of a bank's expert, only the name was checked.
            domain, above = metadata.get("domain"), metadata.get("parents")
            if isinstance(domain, str) and isinstance(above, list):
                above = [p for p in above if isinstance(p, str) and p != domain]
                parents.setdefault(domain, above)
                inside.setdefault(domain, []).append(entry)
        return parents, inside

    def _local_entries(self) -> list[Entry]:
        """Returns the entries whose metadata needs no download."""
        are_here = self._selection.computed or self._selection.cached
        return [
            entry
            for entry in self._selection.ranking
            if are_here or "://" not in entry.module
        ]
