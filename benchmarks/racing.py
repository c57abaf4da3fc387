"""Races against the exact selection, on real tasks and trained experts.

    python benchmarks/racing.py --data_dir D --tasks flowers5 ...

The pool is the collection that comes with the package, or another of trained
experts (docs/real_run.md trains one). All features are computed once and kept;
races are then run from them with several orders of the images, and so is
successive halving as in SHiFT (a budget that is shared equally among the
rounds, half of the candidates after each). Prints `name value unit` lines:
`regret` is the exact winner's accuracy less that of the race's, on all images,
in points; `agrees` the share of races that have the same winner or one within
0.5 points. The exact winner of many that are equally good owes some of its lead
to chance, which a race cannot see: `regret_on_new` is by the task's test
images, whose neighbours are looked for among the training images.

Two lines say what is there to be found. `reliability` is the correlation, over
the candidates, of their accuracies on two random halves of the images, each
with neighbours of its own half: near 0, which is best is chance. `informed` is
our race within the budget when it is told of each image it looks at whether
the neighbour among *all* images is right, which is more than a race can know.
"""

import argparse
import math
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from keras_experts.console import progress
from keras_experts.data.tasks import load_task
from keras_experts.selection.features import Features
from keras_experts.selection.folds import stratified_order
from keras_experts.selection.modules import by_cost
from keras_experts.selection.modules import expand
from keras_experts.selection.neighbors import leave_one_out_accuracy
from keras_experts.selection.racing import Racing
from keras_experts.selection.racing import race
from keras_experts.selection.statistics import mean_score
from keras_experts.selection.strategies import Knn
from keras_experts.selection.votes import Votes
from keras_experts.selection.votes import vote

CLOSE = 0.005  # of accuracy
NUM_NEW = 1000  # test images, at most
NUM_SPLITS = 20
WAYS = ("budget", "informed", "error", "halving")


class Kept:
    """Features that are all there, as a race asks for them."""

    def __init__(self, rows: dict[str, np.ndarray]):
        self.rows = rows
        self.failed: dict[str, str] = {}

    def compute(self, candidates, indices, on_ready):
        for candidate in candidates:
            on_ready(candidate, self.rows[candidate.handle][indices], 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collection", default="builtin")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--tasks", nargs="+", required=True)
    parser.add_argument("--budget", type=float, default=0.25)
    parser.add_argument("--error", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    options = parser.parse_args()
    candidates = by_cost(expand([options.collection]))
    print(f"racing_candidates {len(candidates)} modules")
    budget = Racing("budget", budget=options.budget)
    ways = {
        "budget": our_race(budget),
        "informed": our_race(budget, Informed()),
        "error": our_race(Racing("error", error=options.error)),
        "halving": halving(options.budget),
    }
    ways = {name: ways[name] for name in options.ways}
    close: dict[str, int] = dict.fromkeys(ways, 0)
    mean_regrets: dict[str, list[float]] = {name: [] for name in ways}
    on_new_regrets: dict[str, list[float]] = {name: [] for name in ways}
    for task in options.tasks:
        images = load_task(task, options.data_dir, 1000)
        rows, labels = compute(images.train, candidates), images.train.labels
        votes = {
            handle: vote(features, labels, 1, "euclidean")
            for handle, features in rows.items()
        }
        right = {handle: found.correct() for handle, found in votes.items()}
        exact = {h: float(correct.mean()) for h, correct in right.items()}
        on_new = accuracies_on_new(images, rows, candidates)
        winner = max(exact, key=exact.get)  # of equals the first, a baseline
        best = exact[winner]
        print(f"racing_{task}_best {best:.4f} share")
        print(f"racing_{task}_reliability {reliability(votes):.2f} r")
        told = {h: correct[:, None] for h, correct in right.items()}
        for name, way in ways.items():
            seen = told if name == "informed" else rows
            found = [
                way(seed, candidates, seen, labels)
                for seed in range(options.seeds)
            ]
            regrets = np.array([best - exact[raced] for raced, _ in found])
            new = np.mean(
                [on_new[winner] - on_new[raced] for raced, _ in found]
            )
            passes = np.mean([share for _, share in found])
            agrees = np.mean(regrets <= CLOSE + 1e-9)
            close[name] += regrets[0] <= CLOSE + 1e-9
            mean_regrets[name].append(float(regrets.mean()))
            on_new_regrets[name].append(float(new))
            print(f"racing_{task}_{name}_regret {100 * regrets.mean():.2f} %")
            print(f"racing_{task}_{name}_regret_on_new {100 * new:.2f} %")
            print(f"racing_{task}_{name}_agrees {agrees:.2f} share")
            print(f"racing_{task}_{name}_passes {passes:.3f} share")
    for name, number in close.items():
        print(f"racing_{name}_tasks_of_first_order_within {number} tasks")
        number = sum(regret <= CLOSE for regret in mean_regrets[name])
        print(f"racing_{name}_tasks_of_mean_regret_within {number} tasks")
        number = sum(regret <= CLOSE for regret in on_new_regrets[name])
        print(f"racing_{name}_tasks_of_regret_on_new_within {number} tasks")


def compute(images, candidates) -> dict[str, np.ndarray]:
    """Gives each candidate's features `(n, channels)` of the images."""
    rows: dict[str, np.ndarray] = {}
    places = np.arange(images.num_examples)
    with (
        Features(images) as features,
        progress("embedding", len(candidates) * len(places)) as bar,
    ):
        features.compute(
            candidates, places, lambda c, r, _: rows.update({c.handle: r}), bar
        )
    return rows


def accuracies_on_new(task, rows, candidates) -> dict[str, float]:
    """Gives the accuracies on test images by their nearest training image."""
    test = task.test.take(NUM_NEW)
    return {
        handle: float(
            KNeighborsClassifier(1, algorithm="brute")
            .fit(rows[handle], task.train.labels)
            .score(features, test.labels)
        )
        for handle, features in compute(test, candidates).items()
    }


def leave_out(candidate, reason: str) -> None:
    raise ValueError(f"{candidate.name}: {reason}")


class Informed(Knn):
    """Is given whether the neighbours are right in the features' place."""

    def score(self, features, labels, candidate, groups=None):
        return mean_score(features[:, 0])

    def early_value(self, features, labels, candidate, groups=None):
        return float(features.mean())


def reliability(votes: dict[str, Votes]) -> float:
    """Gives how well half of the images tells the accuracies on the other."""
    rng = np.random.default_rng(0)
    number = len(next(iter(votes.values())).labels)
    found = []
    for _ in range(NUM_SPLITS):
        side = rng.permuted(np.arange(number) < number // 2)
        right = np.array([v.correct_beside(side) for v in votes.values()])
        one, other = right[:, side].mean(1), right[:, ~side].mean(1)
        found.append(np.corrcoef(one, other)[0, 1])
    return float(np.mean(found))


def our_race(racing: Racing, strategy: Knn = Knn()):
    def run(seed, candidates, rows, labels):
        seeded = Racing(racing.mode, racing.error, racing.budget, seed)
        result = race(
            strategy,
            Kept(rows),
            [c for c in candidates if c.handle in rows],
            np.arange(len(labels)),
            labels,
            seeded,
            leave_out,
        )
        return result.survivors[0], 1 - result.race.saved

    return run


def halving(budget: float):
    """Successive halving: every round costs the same, and half stay."""

    def run(seed, candidates, rows, labels):
        order = stratified_order(labels, seed)
        alive = list(rows)
        number = len(labels)
        rounds = math.ceil(math.log2(len(alive)))
        share = budget * len(alive) * number / rounds
        seen = passes = 0
        for _ in range(rounds):
            more = min(int(share / len(alive)), number - seen)
            passes += more * len(alive)
            seen += more
            chosen = order[:seen]
            alive.sort(
                key=lambda h: (
                    -leave_one_out_accuracy(rows[h][chosen], labels[chosen])
                )
            )
            alive = alive[: math.ceil(len(alive) / 2)]
        return alive[0], passes / (len(rows) * number)

    return run


if __name__ == "__main__":
    main()
