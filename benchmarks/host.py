"""The host under load: first byte, many downloads at once, memory.

    python benchmarks/host.py

`keras-experts serve` runs in a process of its own and is asked over real
sockets for the archive of an R50x1. Prints `name value unit` lines.
"""

import argparse
import concurrent.futures
import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

CHUNK_BYTES = 2**18
FIRST_BYTES = 20  # requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="r50x1")
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = write_collection(options.preset, Path(folder))
        command = [sys.executable, "-m", "keras_experts.cli", "serve", folder]
        with subprocess.Popen(
            [*command, "--port", "0"], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                address = server.stdout.readline().strip()
                measure(options.clients, address, row, server.pid)
            finally:
                server.terminate()


def write_collection(preset: str, folder: Path) -> dict:
    """Writes a collection of one untrained network; gives its row."""
    from keras_experts.exporting.collection_writer import CollectionWriter
    from keras_experts.exporting.collection_writer import Publication
    from keras_experts.models import bit_resnet

    row = {
        **dict.fromkeys(("domain", "synset", "top1", "top1_baseline")),
        **{"kind": "baseline", "parents": [], "dataset": "none"},
        **{"num_images": 0, "num_classes": 0, "image_size": 224},
        **{"num_steps": 0, "batch_size": 0, "hierarchy": None},
    }
    with CollectionWriter(folder, Publication("acme")) as writer:
        writer.add_network("baseline", bit_resnet(preset), row, folder)
        return writer.finish()[0]


def measure(clients: int, address: str, row: dict, server: int) -> None:
    """Asks for the archive, once at a time and at once."""
    print(f"host_archive {row['num_bytes'] / 1e6:.1f} MB")
    waits = [first_byte(address, row) for _ in range(FIRST_BYTES)]
    print(f"host_first_byte_median {1000 * np.median(waits):.1f} ms")
    print(f"host_first_byte_largest {1000 * max(waits):.1f} ms")
    before = peak(server)
    started = time.perf_counter()
    with concurrent.futures.ProcessPoolExecutor(clients) as pool:
        digests = list(pool.map(download, [(address, row)] * clients))
    seconds = time.perf_counter() - started
    right = sum(digest == row["sha256"] for digest in digests)
    print(f"host_{clients}_clients_with_right_checksum {right} clients")
    rate = clients * row["num_bytes"] / seconds / 1e6
    print(f"host_{clients}_clients {seconds:.2f} s")
    print(f"host_{clients}_clients_together {rate:.0f} MB/s")
    more = (peak(server) - before) / 1024
    print(f"host_{clients}_clients_memory_more {more:.1f} MiB")


def ask(address: str, row: dict) -> http.client.HTTPResponse:
    """Sends the request of a hub client on a new connection."""
    parts = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("GET", f"/{row['handle']}?tf-hub-format=compressed")
    return connection.getresponse()


def first_byte(address: str, row: dict) -> float:
    """Times from connecting to the archive's first byte, seconds."""
    started = time.perf_counter()
    response = ask(address, row)
    response.read(1)
    seconds = time.perf_counter() - started
    response.close()
    return seconds


def download(arguments: tuple[str, dict]) -> str:
    """Gives the SHA-256 of what was downloaded."""
    response = ask(*arguments)
    digest = hashlib.sha256()
    while chunk := response.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def peak(process: int) -> int:
    """Gives the most memory a process has had, KiB."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(x for x in status.splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
