"""Picks by few images, and probes of them on others: study/results/few.json.

    python -m study.few --data_dir D

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
from keras_experts.selection.modules import by_cost
from keras_experts.selection.modules import expand
from keras_experts.selection.neighbors import leave_one_out_accuracy
from keras_experts.selection.racing import stratified_order
from study.keep import RESULTS
from study.probes import BASELINE
from study.probes import TASKS

NUMBERS, DRAWS = (100, 250, 500), 10
PENALTIES = (10.0, 100.0, 1e3, 1e4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    data_dir = parser.parse_args().data_dir
    candidates = by_cost(expand(["builtin"]))
    found = []
    for name in TASKS:
        images = load_task(name, data_dir, 1000).train
        rows = compute(images, candidates)
        for number in NUMBERS:
            for seed in range(DRAWS):
                leads = compare(rows, images.labels, number, seed)
                found.append({"task": name, "number": number, **leads})
    files.write_json(RESULTS / "few.json", {"draws": DRAWS, "leads": found})


def compare(rows: dict, labels: np.ndarray, number: int, seed: int) -> dict:
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
            for handle in (picked, BASELINE)
        )
        return ours - theirs

    return {
        "on_drawn": scores[picked] - scores[BASELINE],
        "neighbour": lead(KNeighborsClassifier(1, algorithm="brute")),
        "linear": lead(
            make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))
        ),
    }


if __name__ == "__main__":
    main()
