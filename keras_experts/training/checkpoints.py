"""The state of a training run as files, whole or not there."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.checks import first_line

NUM_KEPT = 2
SETTINGS = "settings"


class Checkpoints:
    """The last states of one run, `step-STEP.npz` in a folder.

    Args:
        folder: Path.
        settings: dict of what the run is made with, JSON values. A state that
            other settings left is refused.
    """

    def __init__(self, folder: Path, settings: dict):
        self._folder = folder
        self._settings = json.loads(json.dumps(settings))

    def save(self, step: int, state: dict[str, np.ndarray]) -> None:
        """Writes a state and removes all but the last two.

        Raises:
            OSError: if it cannot be written; what is there stays.
        """
        for left in self._folder.glob(".tmp-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        path = self._folder / f"step-{step:09d}.npz"
        settings = np.array(json.dumps(self._settings))
        try:
            with files.whole_file(path) as temporary:
                np.savez(temporary, **state, **{SETTINGS: settings})
        except OSError as error:
            last = self._paths()
            kept = f"{last[-1]} stays" if last else "none was there"
            raise OSError(
                "A checkpoint must find room. "
                f"Received: {error.strerror or error} at {path}; {kept}."
            ) from error
        for old in self._paths()[:-NUM_KEPT]:
            old.unlink()

    def restore(
        self, shapes: dict[str, tuple]
    ) -> tuple[int, dict[str, np.ndarray]] | None:
        """Reads the last state.

        Args:
            shapes: what the state must hold, by name.

        Returns:
            The step and the state, or None where there is none.

        Raises:
            ValueError: if it is damaged, or of a run with other settings.
        """
        paths = self._paths()
        if not paths:
            return None
        path = paths[-1]
        try:
            # Opened here: NumPy leaves a file open that is no archive.
            with (
                open(path, "rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                theirs = json.loads(str(arrays[SETTINGS]))
                state = {n: arrays[n] for n in arrays.files if n != SETTINGS}
        except (
            *(EOFError, KeyError, OSError, ValueError),
            *(zipfile.BadZipFile, json.JSONDecodeError),
        ) as error:
            raise ValueError(
                "A checkpoint must be whole; remove it to go on from the one "
                f"before. Received: {path} ({first_line(error)})."
            ) from error
        different = difference(theirs, self._settings)
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
        return int(path.stem.removeprefix("step-")), state

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.npz"))


def difference(theirs: dict, ours: dict, limit: int = 5) -> str:
    """Tells in one line where two settings differ; "" where they do not."""
    found = []
    theirs, ours = _flat(theirs), _flat(ours)
    for name in sorted(theirs.keys() | ours.keys()):
        there, here = theirs.get(name), ours.get(name)
        if there != here:
            found.append(f"{name} {there!r} there, {here!r} here")
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return "; ".join(found[:limit]) + more


def _flat(settings: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
