"""Experts as one SavedModel, against as many SavedModels.

    python benchmarks/bank_module.py
    python benchmarks/bank_module.py --compile

Each way loads and embeds in a process of its own, by turns. Memory is what a
process has more than with TensorFlow alone. Prints `name value unit` lines;
with --compile, compilation stands apart. Weights are random: this is about
cost alone.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from children import in_new_process
from memory import resident

from keras_experts.exporting.bank_module import write_bank
from keras_experts.models import bit_resnet
from keras_experts.models import experts as expert_models
from keras_experts.models import heads
from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.writing import write_keras_module

ONE, SEPARATE = "one", "separate"
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="r50x1")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--num_experts", type=int, default=8)
    parser.add_argument("--num_images", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="with XLA")
    parser.add_argument("--child", nargs="+", help="for this file itself")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, *options.child)))
        return
    title = f"bank_{options.preset}_{options.num_experts}_experts"
    title += "_compiled" if options.compile else ""
    with tempfile.TemporaryDirectory() as folder:
        write(options, Path(folder))
        found = {way: [] for way in (ONE, SEPARATE)}
        for _ in range(options.rounds):
            for way, results in found.items():
                results.append(in_new_process(way, folder))
        disk = {way: size(Path(folder) / way) for way in found}
        print(f"{title}_graph {disk_of_graph(Path(folder))} bytes")
    medians = {
        way: {key: np.median([r[key] for r in results]) for key in results[0]}
        for way, results in found.items()
    }
    for way, figures in medians.items():
        figures["disk"] = disk[way] / MIB
        for key, unit in (
            ("load", "s"),
            ("memory", "MiB"),
            ("disk", "MiB"),
            ("compilation", "s"),
            ("embedding", "s"),
        ):
            print(f"{title}_{way}_{key} {figures[key]:.2f} {unit}")
    for key in ("load", "memory", "disk", "embedding"):
        ratio = medians[ONE][key] / medians[SEPARATE][key]
        print(f"{title}_{key}_over_separate {ratio:.3f} ratio")


def write(options, folder: Path) -> None:
    """Writes the same experts both ways."""
    rng = np.random.default_rng(0)
    bank = bit_resnet(
        options.preset, adapters="bank", num_experts=options.num_experts
    )
    for variable in bank.variables:
        if variable.path.endswith("up"):  # else no adapter does anything
            variable.assign(rng.normal(size=variable.shape) * 0.01)
    names = [f"expert_{index}" for index in range(options.num_experts)]
    write_bank(folder / ONE / "bank", bank, names, {})
    for index, name in enumerate(names):
        expert = expert_models.extract_expert(bank, index)
        model = heads.image_features(expert)
        write_keras_module(folder / SEPARATE / name, model, "features", {})


def measure(options, way: str, folder: str) -> dict:
    """Loads, and embeds the same images through all experts."""
    size = options.image_size
    shape = (options.num_images, size, size, 3)
    images = np.random.default_rng(0).random(shape, np.float32)
    batches = [
        tf.constant(images[start : start + options.batch_size])
        for start in range(0, len(images), options.batch_size)
    ]
    tf.matmul(tf.zeros((8, 8)), tf.zeros((8, 8)))  # starts TensorFlow
    before = resident()
    started = time.perf_counter()
    paths = sorted((Path(folder) / way).iterdir())
    modules = [load_module(str(path)) for path in paths]
    loaded = time.perf_counter() - started
    memory = resident() - before
    if way == ONE:
        every = modules[0].signatures["all_experts"]
        forward = [lambda x: every(inputs=x)["features"]]
    else:
        forward = modules
    calls = [tf.function(f, jit_compile=options.compile) for f in forward]
    started = time.perf_counter()
    for call in calls:
        call(batches[0]).numpy()
    first = time.perf_counter() - started
    started = time.perf_counter()
    for call in calls:
        for batch in batches:
            call(batch).numpy()
    embedding = time.perf_counter() - started
    return {
        "load": loaded,
        "memory": memory / MIB,
        "compilation": first - embedding / len(batches),
        "embedding": embedding,
    }


def size(folder: Path) -> int:
    """Adds up a folder's files, bytes."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def disk_of_graph(folder: Path) -> int:
    """Gives the size of the bank's saved_model.pb, bytes."""
    return (folder / ONE / "bank" / "saved_model.pb").stat().st_size


if __name__ == "__main__":
    main()
