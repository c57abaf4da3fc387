"""What the benchmarks of memory share."""

import os
from pathlib import Path


def resident() -> int:
    """Gives the memory that this process has now, bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
