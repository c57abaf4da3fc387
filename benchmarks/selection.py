"""What selection costs beside forward passes, and when there are none.

    python benchmarks/selection.py
    python benchmarks/selection.py --part warm

`warm`: the second selection of small modules with many features, in a process
that has imported TensorFlow. `overhead`: a bank against its forward passes
alone, compiled once, on the same images; weights are random, this is about
cost alone. Prints `name value unit` lines.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from keras_experts.data.labeled_images import from_arrays
from keras_experts.data.tasks import Task
from keras_experts.exporting.bank_module import write_bank
from keras_experts.models import bit_resnet
from keras_experts.saved_models.handles import ADAPTER
from keras_experts.saved_models.handles import BANK
from keras_experts.saved_models.loading import load_module
from keras_experts.selection import embeddings
from keras_experts.selection.selector import select


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("warm", "overhead"))
    parser.add_argument("--num_modules", type=int, default=20)
    parser.add_argument("--num_examples", type=int, default=1000)
    parser.add_argument("--preset", default="r50x1")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--num_experts", type=int, default=4)
    parser.add_argument("--num_images", type=int, default=96)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERAS_EXPERTS_CACHE"] = f"{folder}/cache"
        if options.part != "overhead":
            warm(options, Path(folder))
        if options.part != "warm":
            overhead(options, Path(folder))


def random_task(number: int, size: int) -> Task:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (number, size, size, 3)).astype(np.uint8)
    images = from_arrays(pixels, np.arange(number) % 10, list("0123456789"))
    return Task("random", images, images)


def warm(options, folder: Path) -> None:
    """Times a selection whose features are all there."""
    rng = np.random.default_rng(0)
    modules = []
    for number in range(options.num_modules):
        kernel = tf.Variable(rng.normal(size=(192, 2048)).astype(np.float32))
        modules.append(str(folder / f"module_{number}"))
        save(modules[-1], kernel)
    task = random_task(options.num_examples, 32)
    title = f"selection_{options.num_modules}x{options.num_examples}"
    for state in ("cold", "warm"):
        started = time.perf_counter()
        selection = select(task, modules, racing="off")
        seconds = time.perf_counter() - started
        print(f"{title}_{state} {seconds:.2f} s")
        print(f"{title}_{state}_passes {selection.computed} images")


def save(path: str, kernel: tf.Variable) -> None:
    """Saves a module that projects the pixels of small images."""

    def call(images):
        small = tf.image.resize(images, (8, 8))
        return tf.reshape(small, (-1, 192)) @ kernel

    root = tf.train.Checkpoint(kernel=kernel)
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    root.__call__ = tf.function(call, input_signature=[spec])
    tf.saved_model.save(root, path)


def overhead(options, folder: Path) -> None:
    """Times a bank's selection against its forward passes."""
    bank = bit_resnet(
        options.preset, adapters="bank", num_experts=options.num_experts
    )
    names = [f"expert_{index}" for index in range(options.num_experts)]
    metadata = {
        "kind": BANK,
        "image_size": options.image_size,
        "experts": [{"name": name, "kind": ADAPTER} for name in names],
    }
    write_bank(folder / "bank", bank, names, metadata)
    task = random_task(options.num_images, options.image_size)
    passes = (1 + options.num_experts) * options.num_images
    # The first selection of a process imports and initialises libraries.
    select(random_task(20, 32), [str(folder / "bank")], cache=False)
    embeddings.COMPILE_PIXELS = 0
    started = time.perf_counter()
    selection = select(task, [str(folder / "bank")], cache=False)
    whole = time.perf_counter() - started
    loading, compiling, forward = passes_alone(options, folder, task)
    title = f"selection_{options.preset}_{passes}_passes"
    share = (whole - loading - compiling - forward) / forward
    print(f"{title}_whole {whole:.2f} s")
    print(f"{title}_loading {loading:.2f} s")
    print(f"{title}_compiling {compiling:.2f} s")
    print(f"{title}_forward {forward:.2f} s")
    print(f"{title}_overhead {share:.3f} share")
    print(f"{title}_computed {selection.computed} images")


def passes_alone(options, folder: Path, task: Task):
    """Times loading, compiling and the forward passes that are needed."""
    started = time.perf_counter()
    module = load_module(str(folder / "bank"))
    loading = time.perf_counter() - started
    call = tf.function(lambda x, e: module(x, expert=e), jit_compile=True)
    pixels = task.train.read(np.arange(options.num_images)) / np.float32(255)
    size = embeddings.batch_size_for(options.image_size)
    batches = [
        tf.constant(pixels[start : start + size])
        for start in range(0, len(pixels), size)
    ]
    started = time.perf_counter()
    call(batches[0], tf.constant(-1)).numpy()
    first = time.perf_counter() - started
    started = time.perf_counter()
    for batch in batches:
        for expert in range(-1, options.num_experts):
            call(batch, tf.constant(expert)).numpy()
    forward = time.perf_counter() - started
    once = forward / len(batches) / (1 + options.num_experts)
    return loading, first - once, forward


if __name__ == "__main__":
    main()
