"""How busy a sweep of 36 trials keeps the cores.

    python benchmarks/sweep.py --module C/acme/experts/animal/1 \
        --task flowers5 --data_dir D

A random search on 1,000 images (800 and 200), one process a core, as
`evaluate --sweep random` runs it; processes start, load and compile within the
time. Prints `name value unit` lines: the share is CPU time over the time of
all cores.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--num_images", type=int, default=640)
    options = parser.parse_args()
    from keras_experts.evaluation.evaluating import evaluate
    from keras_experts.evaluation.protocol import Protocol

    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "suite.json")
        tasks = [{"task": options.task}]
        suite.write_text(json.dumps({"name": "sweep", "tasks": tasks}))
        started, used = time.monotonic(), cpu_seconds()
        evaluate(
            suite,
            [options.module],
            Path(folder, "out"),
            ("baseline",),
            Protocol("random", 1, 1, options.num_images, 32),
            options.data_dir,
            processes=cores,
        )
        seconds = time.monotonic() - started
        share = (cpu_seconds() - used) / (seconds * cores)
        trials = len(list(Path(folder, "out", "trials").iterdir()))
    print(f"sweep_trials {trials} trials")
    print(f"sweep_seconds {seconds:.0f} s")
    print(f"sweep_cores_busy {share:.3f} share")


def cpu_seconds() -> float:
    """Gives the CPU time of this process and of those that it waited for."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(each)[:2]) for each in whose)


if __name__ == "__main__":
    main()
