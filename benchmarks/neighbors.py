"""Exact leave-one-out 1-NN against scikit-learn, FAISS and one product.

    python benchmarks/neighbors.py

Prints `name value unit` lines; all are measured in one run, in turn.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from keras_experts.selection import nearest_neighbors


def competitors(features: np.ndarray) -> dict[str, Callable]:
    """Gives the ways to find the nearest other example of each."""
    import faiss
    from sklearn.neighbors import NearestNeighbors

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
        "sgemm": lambda: features @ features.T,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 8000])
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for size in options.sizes:
        rng = np.random.default_rng(0)
        shape = (size, options.channels)
        ways = competitors(rng.standard_normal(shape, np.float32))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeats + 1):
            for name, run in ways.items():
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
        # The first round warms up.
        medians = {n: float(np.median(s[1:])) for n, s in seconds.items()}
        for name, median in medians.items():
            print(f"neighbors_{size}_{name} {median:.3f} s")
        for name in ("faiss_flat", "scikit_learn", "sgemm"):
            ratio = medians[name] / medians["keras_experts"]
            print(f"neighbors_{size}_speed_up_over_{name} {ratio:.2f} x")


if __name__ == "__main__":
    main()
