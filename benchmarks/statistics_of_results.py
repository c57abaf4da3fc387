"""Statistics of a full VTAB-1k results file.

    python benchmarks/statistics_of_results.py

19 tasks x 30 runs x 8 methods: reading, all medians and intervals, and all
comparisons of two methods. Prints `name value unit` lines.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_experts.evaluation.results import Results
from keras_experts.evaluation.results import Run
from keras_experts.evaluation.results import SuiteTask
from keras_experts.evaluation.results import read_results
from keras_experts.evaluation.results import write_results
from keras_experts.evaluation.statistics import Summary

GROUPS = {"natural": 7, "specialised": 4, "structured": 8}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        write_results(path, draw())
        started = time.perf_counter()
        summary = Summary(read_results(path))
        methods = summary.results.methods
        for method in methods:
            for group in summary.groups:
                summary.group(method, group)
            for task in summary.results.tasks:
                summary.task(method, task.name)
        for group in summary.groups:
            for first, second in itertools.combinations(methods, 2):
                summary.difference(first, second, group)
        seconds = time.perf_counter() - started
    print(f"statistics_runs {len(summary.results.runs)} runs")
    print(f"statistics_all {seconds:.2f} s")


def draw() -> Results:
    rng = np.random.default_rng(0)
    tasks = tuple(
        SuiteTask(f"{group}_{number}", group)
        for group, size in GROUPS.items()
        for number in range(size)
    )
    runs = tuple(
        Run(task.name, f"method_{method}", repeat, run, float(rng.beta(8, 3)))
        for task in tasks
        for method in range(8)
        for repeat in range(10)
        for run in range(3)
    )
    return Results("drawn", tasks, runs)


if __name__ == "__main__":
    main()
