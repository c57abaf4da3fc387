"""Checkpoints of a training run: files that are whole or not there."""

import json
import zipfile
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.checks import difference
from keras_experts.checks import first_line
from keras_experts.console import say

NUM_KEPT = 2
SETTINGS = "settings"
DAMAGE = (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile)


class Checkpoints:
    """The last checkpoints of one run, `step-STEP.npz` in a folder.

    Args:
        folder: Path.
        settings: dict of what the run is made with, JSON values. A checkpoint
            of other settings is refused.
    """

    def __init__(self, folder: Path, settings: dict):
        self._folder = folder
        self._settings = json.loads(json.dumps(settings))
        self._unreadable: set[Path] = set()

    def save(self, step: int, state: dict[str, np.ndarray]) -> None:
        """Writes a checkpoint and deletes all good ones but the last two.

        Raises:
            OSError: if it cannot be written; the ones before it stay.
        """
        path = self._folder / f"step-{step:09d}.npz"
        settings = np.array(json.dumps(self._settings))
        try:
            with files.whole_file(path) as temporary:
                np.savez(temporary, **state, **{SETTINGS: settings})
        except OSError as error:
            known = getattr(error.__cause__, "strerror", None)
            reason = error.strerror or known or first_line(error).rstrip(".")
            last = "".join(
                f" Run again to go on from step {_step_of(last):,}."
                for last in self._paths()[-1:]
            )
            raise OSError(
                f"Could not write the checkpoint to {path}: "
                f"{reason[0].lower()}{reason[1:]}.{last}"
            ) from error
        self._unreadable.discard(path)
        good = [p for p in self._paths() if p not in self._unreadable]
        for old in good[:-NUM_KEPT]:
            old.unlink()

    def restore(
        self, shapes: dict[str, tuple]
    ) -> tuple[int, dict[str, np.ndarray]] | None:
        """Reads the last checkpoint that can be read.

        Later ones that cannot be read are named on stderr; they stay.

        Args:
            shapes: dict of each array's name to its shape.

        Returns:
            The step and the state, or None if there is no checkpoint.

        Raises:
            ValueError: if none can be read, or the last that can is of a run
                with other settings.
        """
        faults: dict[Path, str] = {}
        for path in reversed(self._paths()):
            try:
                settings, state = _read(path)
            except DAMAGE as error:
                faults[path] = first_line(error)
                continue
            self._check(path, settings, state, shapes)
            for damaged, fault in faults.items():
                say(
                    f"The checkpoint {damaged} cannot be read ({fault}); "
                    f"training goes on from {path.name}."
                )
            self._unreadable = set(faults)
            return _step_of(path), state
        for path, fault in faults.items():
            raise ValueError(
                f"None of the {len(faults)} checkpoints in {self._folder} can "
                f"be read, the last one because of: {fault.rstrip('.')}. "
                "Remove the folder to train from the start."
            )
        return None

    def _check(
        self, path: Path, settings: dict, state: dict, shapes: dict
    ) -> None:
        """Raises unless a checkpoint is one of this run."""
        different = difference(settings, self._settings)
        if not different:
            different = difference(
                {name: list(value.shape) for name, value in state.items()},
                {name: list(shape) for name, shape in shapes.items()},
            )
        if different:
            raise ValueError(
                "A run goes on with the settings it was begun with, or in "
                f"another folder. Received: {path}, with {different}."
            )

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.npz"))


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Reads the settings and the arrays of a checkpoint."""
    # Opened here: NumPy leaves a file open that is not an archive.
    with (
        open(path, "rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        settings = json.loads(str(arrays[SETTINGS]))
        return settings, {n: arrays[n] for n in arrays.files if n != SETTINGS}
