"""Signals that ask a run to stop, taken between two loops of steps."""

import os
import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(RuntimeError):
    """A run was asked to stop, and has saved what it did."""


class StopSignals:
    """Notes SIGTERM and Ctrl-C while its block runs.

    The second of them has its usual effect.

    Attributes:
        received: str. Name of the signal that came, or None.
    """

    def __init__(self):
        self.received: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        # Python takes signals in its main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame) -> None:
        self.received = signal.Signals(number).name
        # At once, and not through a lock that the loop may hold.
        os.write(2, b"Stopping after these steps; again to stop at once.\n")
        self.__exit__()
