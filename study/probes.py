"""Probes of the collection that comes with the package, into its card.

    python -m study.probes --data_dir D

Of each real task (1,000 training images) the leave-one-out accuracy of the
nearest neighbour and the cross-validated one of a linear classifier, by the
baseline's features and by those of the expert that the first would pick.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_experts.selection.selector import select
from keras_experts.selection.selector import select_many
from study.pages import fill
from study.pages import table

TASKS = ("cifar10_small", "flowers5", "scenes15", "dtd10", "trashnet")
TASKS += ("clothing10", "gtsrb", "signdigits")
BASELINE = "builtin#baseline"
CARD = Path(__file__).parent.parent / "docs" / "builtin.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    data_dir = parser.parse_args().data_dir
    by_knn = select_many(TASKS, ["builtin"], data_dir=data_dir, racing="off")
    rows = []
    for name, knn in zip(TASKS, by_knn, strict=True):
        best = knn.best.module
        linear = select(
            name, [BASELINE, best], "logistic", data_dir=data_dir, racing="off"
        )
        cells = [name, knn.best.expert]
        for selection in (knn, linear):
            scores = {e.module: e.score for e in selection.ranking}
            cells += [f"{100 * scores[m]:.1f}" for m in (BASELINE, best)]
        lead = knn.lead
        cells += [f"{100 * lead.cross_fitted:+.1f}", f"{lead.by_chance:.0%}"]
        rows.append(cells)
    head = ["task", "picked", "neighbour", "picked", "linear", "picked"]
    head += ["cross-fitted", "by chance"]
    fill(CARD, "probes", table(head, rows))


if __name__ == "__main__":
    main()
