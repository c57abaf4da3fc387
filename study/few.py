"""Picks by few images, and probes of them on others: study/results/few.json.

    python -m study.few --data_dir D
    python -m study.few --data_dir D --modules study/pools/small_nodes.txt \
        --name small_few

Of each task's 1,000 training images some are drawn, each class in its share.
The expert that their nearest neighbours pick and the baseline are compared on
the rest, by a ridge classifier on the features and by the nearest neighbour.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.racing import compute
from keras_experts import files
from keras_experts.data.tasks import load_task
from keras_experts.selection.folds import stratified_order
from keras_experts.selection.modules import by_cost
from keras_experts.selection.modules import expand
from keras_experts.selection.neighbors import leave_one_out_accuracy
from study.keep import RESULTS
from study.probes import TASKS

NUMBERS, DRAWS = (100, 250, 500), 10
PENALTIES = (10.0, 100.0, 1e3, 1e4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--modules", default="builtin")
    parser.add_argument("--name", default="few", help="of the results")
    options = parser.parse_args()
    candidates = by_cost(expand([options.modules]))
    baseline = next(c.handle for c in candidates if c.is_baseline)
    found = []
    for name in TASKS:
        images = load_task(name, options.data_dir, 1000).train
        rows = compute(images, candidates)
        for number in NUMBERS:
            for seed in range(DRAWS):
                drawing = number, seed
                leads = compare(rows, images.labels, baseline, *drawing)
                found.append({"task": name, "number": number, **leads})
    path = RESULTS / f"{options.name}.json"
    files.write_json(path, {"draws": DRAWS, "leads": found})


def compare(
    rows: dict, labels: np.ndarray, baseline: str, number: int, seed: int
) -> dict:
    """Gives the leads over the baseline of one draw's pick."""
    order = stratified_order(labels, seed)
    drawn, rest = order[:number], order[number:]
    scores = {
        handle: leave_one_out_accuracy(features[drawn], labels[drawn])
        for handle, features in rows.items()
    }
    picked = max(scores, key=scores.get)

    def lead(probe) -> float:
        ours, theirs = (
            probe.fit(rows[handle][drawn], labels[drawn]).score(
                rows[handle][rest], labels[rest]
            )
            for handle in (picked, baseline)
        )
        return ours - theirs

    return {
        "on_drawn": scores[picked] - scores[baseline],
        "neighbour": lead(KNeighborsClassifier(1, algorithm="brute")),
        "linear": lead(
            make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))
        ),
    }


if __name__ == "__main__":
    main()
