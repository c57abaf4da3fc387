"""Memory after modules were loaded, used and released, one after another.

    python benchmarks/module_memory.py

Prints `name value unit` lines. The modules differ in their weights, and each
is used as `select` uses it.
"""

import argparse
import gc
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from memory import resident

from keras_experts.data.labeled_images import from_arrays
from keras_experts.models import bit_resnet
from keras_experts.models import heads
from keras_experts.saved_models.writing import write_keras_module
from keras_experts.selection.embeddings import Embedder
from keras_experts.selection.modules import Source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="r50x1")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--num_modules", type=int, default=50)
    parser.add_argument("--num_distinct", type=int, default=4)
    parser.add_argument("--warm_up", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    size = options.image_size
    images = from_arrays(
        rng.integers(0, 256, (8, size, size, 3)).astype(np.uint8),
        np.zeros(8, np.int64),
        ["any"],
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(options.num_distinct):
            model = heads.image_features(bit_resnet(options.preset))
            paths.append(f"{folder}/{number}")
            metadata = {"image_size": size}
            write_keras_module(paths[-1], model, "features", metadata)
            del model
        found = []
        embedder = Embedder(images)
        for number in range(options.num_modules):
            source = Source(paths[number % len(paths)], size)
            for _ in embedder.features(source, [None], np.arange(8)):
                pass
            gc.collect()
            found.append(resident() / 2**20)
    first, last = found[options.warm_up - 1], found[-1]
    title = f"module_memory_{options.preset}"
    print(f"{title}_after_{options.warm_up} {first:.0f} MiB")
    print(f"{title}_after_{options.num_modules} {last:.0f} MiB")
    print(f"{title}_most {max(found):.0f} MiB")
    print(f"{title}_last_over_first {last / first:.3f} ratio")


if __name__ == "__main__":
    main()
