"""What processes that a command starts have in common."""

import contextlib
import ctypes
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of Linux's prctl


def end_with_parent() -> None:
    """Asks Linux to kill this process when the one that started it ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def be_first_without_memory() -> None:
    """Asks Linux to kill this process rather than others for memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
