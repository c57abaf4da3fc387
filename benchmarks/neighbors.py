"""Exact leave-one-out 1-NN against scikit-learn, FAISS and one product.

    python benchmarks/neighbors.py
    python benchmarks/neighbors.py --plot docs/neighbors.svg

Prints `name value unit` lines; the ways are measured in turn in one run. The
product is a general one, of an array and the transpose of a copy: NumPy halves
the work where it is the same array.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from memory import resident

from keras_experts.selection import nearest_neighbors

EXPERTS = (8, 16, 32, 64, 128, 256, 512)
IMAGES = (250, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
IMAGES_PER_EXPERT = 1000
CHANNELS = (64, 256)


def make_features(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def competitors(features: np.ndarray) -> dict[str, Callable]:
    """Gives the ways to find the nearest other example of each."""
    import faiss
    from sklearn.neighbors import NearestNeighbors

    copy = features.copy()

    def run_faiss():
        index = faiss.IndexFlatL2(features.shape[1])
        index.add(features)
        return index.search(features, 2)[1]

    def run_sklearn():
        model = NearestNeighbors(n_neighbors=1, algorithm="brute")
        return model.fit(features).kneighbors(return_distance=False)

    return {
        "keras_experts": lambda: nearest_neighbors(features),
        "faiss_flat": run_faiss,
        "scikit_learn": run_sklearn,
        "sgemm": lambda: features @ copy.T,
    }


def compare(size: int, channels: int, repeats: int) -> None:
    """Prints the median of each way, and the ratios that are promised."""
    ways = competitors(make_features(size, channels))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    # The first round warms up.
    medians = {n: float(np.median(s[1:])) for n, s in seconds.items()}
    for name, median in medians.items():
        print(f"neighbors_{size}_{name} {median:.4f} s")
    for name in ("faiss_flat", "scikit_learn"):
        ratio = medians[name] / medians["keras_experts"]
        print(f"neighbors_{size}_speed_up_over_{name} {ratio:.2f} x")
    ratio = medians["keras_experts"] / medians["sgemm"]
    print(f"neighbors_{size}_time_over_sgemm {ratio:.3f} ratio", flush=True)


def peak_over_data(size: int, channels: int) -> int:
    """Gives the most memory that the search takes, bytes."""
    features = make_features(size, channels)
    before = resident()
    nearest_neighbors(features)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return 1024 * int(peak) - before


def measure_memory(size: int, channels: int) -> None:
    """Prints the peak of a process that does nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak = pool.apply(peak_over_data, (size, channels))
    name = f"neighbors_{size}_peak_memory_over_data"
    print(f"{name} {peak / 2**20:.0f} MiB", flush=True)


def measure_cost(name: str, features: np.ndarray, repeats: int) -> float:
    """Prints and gives the median time of a search, seconds."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        nearest_neighbors(features)
        seconds.append(time.perf_counter() - started)
    median = float(np.median(seconds[1:]))
    print(f"neighbors_{name} {median:.4f} s", flush=True)
    return median


def plot(path: str, repeats: int) -> None:
    """Draws the cost over experts and over images."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(8, 3.2), layout="constrained", sharey=True
    )
    for channels in CHANNELS:
        name = f"{channels}_channels"
        batch = make_features(EXPERTS[-1], IMAGES_PER_EXPERT, channels)
        costs = [
            measure_cost(f"{number}_experts_{name}", batch[:number], repeats)
            for number in EXPERTS
        ]
        left.plot(EXPERTS, costs, marker="o", label=f"{channels} channels")
        images = batch.reshape(-1, channels)[: IMAGES[-1]]
        costs = [
            measure_cost(f"{number}_images_{name}", images[:number], repeats)
            for number in IMAGES
        ]
        right.plot(IMAGES, costs, marker="o", label=f"{channels} channels")
    left.set(xlabel=f"experts, {IMAGES_PER_EXPERT} images", ylabel="seconds")
    right.set(xlabel="images, one expert")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 8000])
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--memory_size", type=int, default=50_000)
    parser.add_argument("--memory_channels", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5, help="at 8000 images")
    parser.add_argument("--plot", help="file of plots over experts and images")
    options = parser.parse_args()
    for size in options.sizes:
        repeats = options.repeats * max(1, 8000 // size)
        compare(size, options.channels, repeats)
    measure_memory(options.memory_size, options.memory_channels)
    if options.plot:
        plot(options.plot, options.repeats)


if __name__ == "__main__":
    main()
