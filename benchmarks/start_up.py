"""How long `keras-experts --help` takes, as people wait for it.

    python benchmarks/start_up.py

Prints `name value unit` lines: the median of several runs.
"""

import statistics
import subprocess
import sys
import time

REPEATS = 5


def main() -> None:
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        command = [sys.executable, "-m", "keras_experts.cli", "--help"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    print(f"help {statistics.median(seconds):.3f} s")


if __name__ == "__main__":
    main()
