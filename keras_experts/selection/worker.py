"""Images through modules in a process of their own, which may be killed.

A module may run for ever, or take all memory: then it is left out, and the
others are ranked.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from keras_experts import console
from keras_experts import files
from keras_experts import processes
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.selection.modules import Source

STARTING_SECONDS = 120.0  # to import TensorFlow, on a busy machine
ERRORS = {
    error.__name__: error
    for error in (FileNotFoundError, PermissionError, ValueError)
}


class Worker:
    """An `Embedder` in another process, started when it is first asked.

    Args:
        images: LabeledImages.
        trust: bool. As in `load_module`.
        time_limit: float. Seconds in which a module must give its next batch;
            loading and compiling count to the first.
    """

    def __init__(self, images: LabeledImages, trust: bool, time_limit: float):
        self._images = images
        self._trust = trust
        self.time_limit = time_limit
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def features(
        self,
        source: Source,
        parts: Sequence[str | None],
        indices: np.ndarray,
    ) -> Iterator:
        """Computes features, as `Embedder.features`.

        Raises:
            FileNotFoundError: if there is no such module.
            PermissionError: if it must be trusted and is not.
            ValueError: if it does not load, takes too long, or ends the
                process.
        """
        if self._process is None:
            self._start()
        request = {
            "module": source.module,
            "image_size": source.image_size,
            "input_range": source.input_range,
            "medium": source.medium,
            "parts": list(parts),
            "indices": np.asarray(indices).tolist(),
        }
        is_done = False
        try:
            _send(self._connection, request)
            while reply := self._receive(source.module, self.time_limit):
                yield _decoded(reply, self._connection)
            is_done = True
        except (EOFError, ConnectionError) as error:
            raise ValueError(self._ended(source.module)) from error
        except tuple(ERRORS.values()):
            is_done = self._process is not None  # it said so itself
            raise
        finally:
            if not is_done:
                self.close()

    def _receive(self, module: str, seconds: float) -> dict:
        if not self._connection.poll(seconds):
            self.close()
            raise ValueError(
                f"A module must give its next batch within {seconds:.0f} "
                f"seconds (`time_limit`). Received: {module}, which did not."
            )
        reply = json.loads(self._connection.recv_bytes())
        if "error" in reply and "part" not in reply:
            raise ERRORS[reply["error"]](reply["message"])
        return reply

    def _ended(self, module: str) -> str:
        code = self._process.wait()
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name
        if code == -signal.SIGKILL:
            how += ", as the system does where memory runs out"
        return (
            "A module must leave its process alive. "
            f"Received: {module}, which ended it ({how})."
        )

    def _start(self) -> None:
        self._spool = contextlib.ExitStack()
        folder = self._spool.enter_context(files.temporary_folder())
        write_images(self._images, folder)
        here, there = socket.socketpair()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", __name__, str(there.fileno())),
                *(str(folder), str(int(self._trust))),
            ],
            pass_fds=[there.fileno()],
            start_new_session=True,  # Ctrl-C is the parent's to act on
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        there.close()
        self._connection = Connection(here.detach())
        if not self._connection.poll(STARTING_SECONDS):
            self.close()
            raise ValueError(
                f"A process for modules must start within {STARTING_SECONDS} "
                "seconds. Received: one that did not; is the machine busy?"
            )
        try:
            self._receive("the start", STARTING_SECONDS)
        except EOFError as error:
            raise RuntimeError(self._ended("the start")) from error

    def kill(self) -> None:
        """Ends the process from another thread; `features` raises there."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process; `features` starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._spool.close()
            self._process = None


def write_images(images: LabeledImages, folder: Path) -> None:
    """Writes images or texts to where another process reads some at a time."""
    (folder / "medium").write_text(images.medium)
    read = images.read(np.arange(images.num_examples))
    if read.dtype != object:
        np.save(folder / "pixels.npy", read)
        return
    ends = np.cumsum([len(content) for content in read])
    np.save(folder / "ends.npy", ends)
    with open(folder / "encoded", "wb") as file:
        for content in read:
            file.write(content)


def read_images(folder: Path) -> LabeledImages:
    """Opens what `write_images` wrote, without labels."""
    medium = (folder / "medium").read_text()
    if (folder / "pixels.npy").exists():
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        labels = np.full(len(pixels), -1, np.int64)
        return LabeledImages(lambda places: pixels[places], labels, [])
    ends = np.load(folder / "ends.npy")
    starts = np.concatenate([[0], ends[:-1]])
    encoded = np.memmap(folder / "encoded", np.uint8, "r")

    def read(places: np.ndarray) -> np.ndarray:
        contents = np.empty(len(places), object)
        for row, place in enumerate(places):
            contents[row] = encoded[starts[place] : ends[place]].tobytes()
        return contents

    labels = np.full(len(ends), -1, np.int64)
    return LabeledImages(read, labels, [], medium=medium)


def _send(connection: Connection, content: dict) -> None:
    connection.send_bytes(json.dumps(content).encode())


def _decoded(reply: dict, connection: Connection):
    indices = np.array(reply["indices"], np.int64)
    if "error" in reply:
        return indices, reply["part"], ValueError(reply["message"])
    content = connection.recv_bytes()
    rows = np.frombuffer(content, np.float32).reshape(len(indices), -1)
    return indices, reply["part"], rows


def _serve(connection: Connection, folder: Path, trust: bool) -> None:
    """Answers requests until the other end closes."""
    from keras_experts.selection.embeddings import Embedder

    embedder = Embedder(read_images(folder), trust)
    _send(connection, {"ready": True})
    while True:
        request = json.loads(connection.recv_bytes())
        source = Source(
            request["module"],
            request["image_size"],
            tuple(request["input_range"]),
            medium=request["medium"],
        )
        try:
            batches = embedder.features(
                source, request["parts"], np.array(request["indices"])
            )
            for indices, part, rows in batches:
                _send_batch(connection, indices, part, rows)
            _send(connection, {})
        except tuple(ERRORS.values()) as error:
            kind = next(k for k, e in ERRORS.items() if isinstance(error, e))
            _send(connection, {"error": kind, "message": str(error)})


def _send_batch(connection: Connection, indices, part, rows) -> None:
    reply = {"indices": indices.tolist(), "part": part}
    if isinstance(rows, ValueError):
        _send(connection, {**reply, "error": "part", "message": str(rows)})
        return
    _send(connection, reply)
    connection.send_bytes(np.ascontiguousarray(rows).tobytes())


def main() -> None:
    """Runs the process; what TensorFlow says at its start goes nowhere."""
    descriptor, folder, trust = sys.argv[1:]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    console.silence()
    processes.be_first_without_memory()
    processes.end_with_parent()
    try:
        _serve(Connection(int(descriptor)), Path(folder), trust == "1")
    except (EOFError, ConnectionError):
        pass  # the selection is over, or was killed


if __name__ == "__main__":
    main()
