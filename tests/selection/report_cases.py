"""Selections to make pages of, with all that a page is made of."""

import json

import numpy as np

from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import Task
from keras_experts.selection import ranking
from keras_experts.selection.modules import Candidate
from keras_experts.selection.neighbors import leave_one_out_correct
from keras_experts.selection.next_command import with_next_command
from keras_experts.selection.racing import Race
from keras_experts.selection.racing import Round
from keras_experts.selection.report import write_report
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import mean_score

KNN = "leave-one-out accuracy of the nearest neighbour"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class FakeFeatures:
    """Features that are there; those of anything else are an error."""

    def __init__(self, known):
        self.known = known

    def get(self, candidate, indices):
        if candidate.handle not in self.known:
            raise ValueError(f"There is no {candidate.handle}.")
        return self.known[candidate.handle][indices]


class Case:
    """A selection with all that a report is made of."""

    def __init__(self, names, num_classes=4, per_class=15, **changed):
        rng = np.random.default_rng(0)
        labels = rng.permutation(np.repeat(np.arange(num_classes), per_class))
        pixels = rng.integers(0, 90, (len(labels), 12, 10, 3), np.uint8)
        pixels[..., 0] += (labels * 160 // num_classes)[:, None, None].astype(
            np.uint8
        )
        classes = [f"class {label}" for label in range(num_classes)]
        images = from_arrays(pixels, labels, changed.get("classes", classes))
        self.task = Task(changed.get("task", "shapes"), images, images)
        self.candidates = [
            Candidate(f"pool/{name}", name, "adapter") for name in names
        ]
        if changed.get("baseline", True):
            self.candidates.append(Candidate("pool/base", "base", "baseline"))
        self.labels = labels
        self.features = {}
        self.scores = {}
        centres = rng.normal(size=(num_classes, 16))
        for order, candidate in enumerate(self.candidates):
            noise = 1 + order / len(self.candidates)
            rows = centres[labels] + noise * rng.normal(size=(len(labels), 16))
            self.features[candidate.handle] = rows.astype(np.float32)
            correct = leave_one_out_correct(rows, labels)
            self.scores[candidate.handle] = mean_score(correct)

    def selection(self, **changed):
        is_share = changed.get("is_share", True)
        entries = ranking.rank(
            self.candidates,
            self.scores,
            dict.fromkeys(self.scores, 1.25),
            len(self.labels),
            is_share,
            changed.pop("survivors", None),
        )
        baselines = [c.handle for c in self.candidates if c.is_baseline]
        margin = changed.get("margin", 0)
        best = ranking.pick(entries, self.candidates, margin)
        content = {
            "task": self.task.name,
            "num_examples": len(self.labels),
            "strategy": "knn",
            "baseline": baselines[0] if baselines else None,
            "best": best,
            "ranking": entries,
            "skipped": [],
            "title": KNN,
            "computed": 1234,
            "cached": 567,
            "lead": ranking.lead_of(
                best, entries, self.candidates, self.scores, margin
            ),
            **changed,
        }
        return ranking.Selection(**content)

    def write(self, path, selection=None, task_flags=(), groups=None):
        """Writes the report, and returns its text."""
        selection = with_next_command(
            selection or self.selection(),
            self.candidates,
            task_flags or ("--task", self.task.name),
        )
        write_report(
            path,
            selection,
            self.task,
            FakeFeatures(self.features),
            np.arange(len(self.labels)),
            self.candidates,
            self.scores,
            groups,
        )
        return path.read_text(encoding="utf-8")


def pool_of(number, **changed):
    return Case([f"expert_{order}" for order in range(number)], **changed)


def plain():
    case = pool_of(5)
    return case, case.selection()


def without_baseline():
    case = pool_of(3, baseline=False)
    return case, case.selection()


def kept():
    """The baseline is best: it has the least noise."""
    case = pool_of(3)
    base = case.candidates[-1]
    case.scores[base.handle] = mean_score(np.ones(len(case.labels)))
    return case, case.selection()


def without_examples():
    """Scores that are no means over examples."""
    case = pool_of(4)
    values = [-0.25, -0.9, -0.5, -0.125, -0.75]
    for candidate, value in zip(case.candidates, values, strict=True):
        case.scores[candidate.handle] = Score(value)
    title = "-KL of the task's predicted labels to the expert's"
    return case, case.selection(is_share=False, title=title)


def raced(baseline_goes=True):
    case = pool_of(12)
    handles = [c.handle for c in case.candidates]
    if baseline_goes:
        first, second = handles[7:], handles[3:7]
    else:
        first, second = handles[7:-1], handles[3:7]
    for gone, seen in ((first, 16), (second, 30)):
        for handle in gone:
            values = case.scores[handle].per_example[:seen]
            case.scores[handle] = mean_score(values)
    survivors = [h for h in handles if h not in (*first, *second)]
    rounds = [
        Round(16, 13, first),
        Round(30, 13 - len(first), second),
        Round(60, len(survivors), []),
    ]
    race = Race("budget", 0.5, rounds, 400, 780)
    skipped = [{"module": "pool/broken", "reason": "It gives NaN."}]
    selection = case.selection(race=race, survivors=survivors, skipped=skipped)
    return case, selection


def hostile():
    classes = [HOSTILE, "c" * 200, "'", "&lt;"]
    case = Case([HOSTILE, "b" * 300], task=HOSTILE, classes=classes)
    skipped = [{"module": HOSTILE, "reason": HOSTILE}]
    return case, case.selection(skipped=skipped, title=HOSTILE)


def huge():
    case = pool_of(300, num_classes=100, per_class=4)
    return case, case.selection()


def with_modules(case, folder, parents):
    """Gives the experts of a case modules that tell their place."""
    for order, candidate in enumerate(case.candidates):
        path = folder / candidate.name
        (path / "assets.extra").mkdir(parents=True)
        (path / "saved_model.pb").touch()
        if candidate.name in parents:
            told = {
                "domain": candidate.name,
                "parents": parents[candidate.name],
            }
            (path / "assets.extra/keras_experts.json").write_text(
                json.dumps(told)
            )
        for known in (case.scores, case.features):
            known[str(path)] = known.pop(candidate.handle)
        case.candidates[order] = Candidate(
            str(path), candidate.name, candidate.kind
        )
