"""Embedding with R50x1 on CPU: ours against torch.compile and others.

    pip install -e '.[parity]'
    python benchmarks/embedding.py

Each way runs in a process of its own, by turns; compiling is not counted. The
ways are a module of ours as `select` runs it, in batches of its own size, the
same in a plain tf.function, and transformers' BitModel in torch: compiled, and
eager with channels last. `--batch_size` is torch's: 50 is faster than 8 and 16
there. Weights are random. Prints `name value unit` lines.
"""

import argparse
import json
import os
import tempfile
import time

import numpy as np
from children import in_new_process

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

WAYS = ("select", "tf_function", "torch_compile", "torch_channels_last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--num_images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, help="for this file itself")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options, *options.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_module(f"{folder}/module")
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way, found in rates.items():
                found.append(in_new_process(way, folder))
    medians = {way: float(np.median(found)) for way, found in rates.items()}
    for way, median in medians.items():
        print(f"embedding_r50x1_{way} {median:.2f} images/s")
    ours = medians["select"]
    for way in WAYS[1:]:
        print(f"embedding_r50x1_over_{way} {ours / medians[way]:.2f} x")


def write_module(path: str) -> None:
    from keras_experts.models import bit_resnet
    from keras_experts.models import heads
    from keras_experts.saved_models.writing import write_keras_module

    model = heads.image_features(bit_resnet("r50x1"))
    write_keras_module(path, model, "features", {})


def measure(options, way: str, folder: str) -> float:
    """Gives images a second."""
    size = options.image_size
    is_torch = "torch" in way
    number = options.batch_size if is_torch else batch_size_for(size)
    shape = (number, size, size, 3)
    images = np.random.default_rng(0).random(shape, np.float32)
    run = torch_way(way, images) if is_torch else our_way(way, folder)
    run(images)  # compiles
    num_batches = round(options.num_images / number)
    started = time.perf_counter()
    for _ in range(num_batches):
        run(images)
    return num_batches * number / (time.perf_counter() - started)


def batch_size_for(image_size: int) -> int:
    from keras_experts.selection import embeddings

    return embeddings.batch_size_for(image_size)


def our_way(way: str, folder: str):
    from keras_experts.selection.loaded_source import LoadedSource
    from keras_experts.selection.modules import Source

    forward = LoadedSource(Source(f"{folder}/module", 224), trust=False)
    forward.compiles = way == "select"
    return lambda images: forward(images, None, len(images))


def torch_way(way: str, images: np.ndarray):
    import torch
    from transformers import BitConfig
    from transformers import BitModel

    torch.set_num_threads(os.cpu_count())
    model = BitModel(BitConfig(depths=[3, 4, 6, 3])).eval()
    model = model.to(memory_format=torch.channels_last)
    if way == "torch_compile":
        model = torch.compile(model)

    def run(images):
        batch = torch.from_numpy(images).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return model(batch * 2 - 1).pooler_output.flatten(1).numpy()

    return run


if __name__ == "__main__":
    main()
