"""What benchmarks share that measure each way in a process of its own."""

import json
import subprocess
import sys


def in_new_process(*arguments: str) -> object:
    """Runs this benchmark again with `--child ARGUMENTS`.

    Returns:
        The JSON in the last line that it prints.
    """
    result = subprocess.run(
        [sys.executable, *sys.argv, "--child", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])
