"""Experts on their own images, of whose classes alone one is chosen.

    python -m study.within study/work/run study/work/small/run --data_dir D

That an expert does not expect other classes any more is no part of such a lead.
Of both networks it writes study/results/within.json.
"""

import argparse
import functools
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gin
import keras
import numpy as np

from keras_experts import config
from keras_experts import files
from keras_experts.console import progress
from keras_experts.data.batches import evaluation_batches
from keras_experts.data.preprocessing import resize
from keras_experts.data.upstream import Upstream
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.training.slices import label_slices
from study.keep import RESULTS

RUNS = ("large", "small")
BATCH_SIZE = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in RUNS:
        parser.add_argument(name, type=Path)
    parser.add_argument("--data_dir", required=True)
    options = parser.parse_args()
    config.parse(
        ["upstream/cifar100_wordnet.gin"], [f"DATA_DIR = {options.data_dir!r}"]
    )
    data = gin.get_configurable("tfds_upstream")()
    found = {}
    for name in RUNS:
        run = getattr(options, name)
        within = Within(run, data)
        experts = [
            (kind, expert)
            for kind, expert in run_folder.list_experts(run)
            if expert in within.slices
        ]
        rows = found[name] = []
        with progress(f"experts of {run}", len(experts)) as bar:
            for kind, expert in experts:
                compared = within.compare(kind, expert)
                rows.append({"name": expert, "kind": kind, **compared})
                bar.advance(1)
    files.write_json(RESULTS / "within.json", found)


class Within:
    """Compares a run's experts with its baseline."""

    def __init__(self, run: Path, data: Upstream):
        self.run, self.data = run, data
        self.baseline, about = run_folder.load_baseline(run)
        size = about["image_size"]
        batches = evaluation_batches(
            data.test, BATCH_SIZE, functools.partial(resize, image_size=size)
        )
        images = np.concatenate([batch["image"] for batch in batches])
        self.images = images[: data.test.num_examples]
        slices = label_slices(data, run, lambda images: images)
        self.slices = {part.name: part.test for part in slices}
        self.outputs = self.baseline.predict(self.images, BATCH_SIZE, 0)

    def compare(self, kind: str, name: str) -> dict[str, float]:
        """Gives the accuracies of an expert and of the baseline."""
        chosen = self.slices[name]
        labels = self.data.test.labels[chosen]
        classes = np.unique(labels)
        expert = self._load(kind, name)
        outputs = expert.predict(self.images[chosen], BATCH_SIZE, 0)
        return {
            what: float((classes[found[:, classes].argmax(1)] == labels).mean())
            for what, found in (
                ("expert", outputs),
                ("baseline", self.outputs[chosen]),
            )
        }

    def _load(self, kind: str, name: str) -> keras.Model:
        if kind == "full":
            folder = self.run / "experts" / kind / name
            return keras.saving.load_model(folder / run_folder.MODEL_FILE)
        # Adapters stand before the baseline's head.
        expert, _ = run_folder.load_expert(
            self.run, kind, name, heads.backbone_of(self.baseline)
        )
        head = self.baseline.get_layer(heads.HEAD_NAME)
        return keras.Sequential([heads.image_features(expert), head])


if __name__ == "__main__":
    main()
