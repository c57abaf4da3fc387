"""The features of a pool on some images: found in the cache, or computed."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_experts import files
from keras_experts.console import Bar
from keras_experts.console import say
from keras_experts.data.fingerprints import digests
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.selection import fingerprints
from keras_experts.selection.cache import FeatureCache
from keras_experts.selection.cache import PendingWrites
from keras_experts.selection.feature_checks import check_varied
from keras_experts.selection.feature_checks import of_one_width
from keras_experts.selection.fingerprints import Described
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import Source
from keras_experts.selection.worker import Worker

# Features in memory at a time, rows of all parts of a source.
ROWS_AT_ONCE = 2**16
NAMED = 3  # of the modules that are skipped for one reason
FAILURES = (ArithmeticError, MemoryError, OSError, RuntimeError, ValueError)

# Takes a candidate, its features `(n, channels)` and the seconds they took.
OnReady = Callable[[Candidate, np.ndarray, float], None]


class Features:
    """Features of candidates on a set of images.

    Args:
        images: LabeledImages.
        cache: bool. Whether to keep features for other selections.
        trust: bool. As in `load_module`.
        time_limit: float. Seconds a module may take for a batch, in a process
            that is killed where it takes longer; None for this process, which
            a module can end.
        processes: int. Modules at a time; more than one needs `time_limit`.

    Attributes:
        digests: uint8 array `(n, 32)`. SHA-256 of each image.
        embedded: int array `(n,)`. Forward passes of each image, one through
            each candidate.
        cached: int array `(n,)`. Forward passes of each image that features
            of earlier selections saved.
        failed: dict of handles to why a candidate is left out.
    """

    def __init__(
        self,
        images: LabeledImages,
        cache: bool = True,
        trust: bool = False,
        time_limit: float | None = None,
        processes: int = 1,
    ):
        self.images = images
        self.failed: dict[str, str] = {}
        self.digests = digests(images)
        self.embedded = np.zeros(images.num_examples, np.int64)
        self.cached = np.zeros(images.num_examples, np.int64)
        # The images that a candidate's counts have already.
        self._counted: dict[str, np.ndarray] = {}
        self._trust = trust
        self._time_limit = time_limit
        self._processes = processes if time_limit is not None else 1
        self._memo = files.cache_folder() / "fingerprints"
        self._lasting = FeatureCache(files.cache_folder() / "features")
        self._keeps = cache
        self._described: dict[Candidate, Described] = {}
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._local = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        self._workers: list[Worker] = []
        self._is_stopping = False
        # Functions and their images share memory: one at a time.
        self._function_lock = threading.Lock()

    def __enter__(self) -> "Features":
        folder = self._stack.enter_context(files.temporary_folder())
        self._passing = FeatureCache(folder)
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()
        if self._keeps and self.embedded.any():
            self._lasting.evict()

    def compute(
        self,
        candidates: Sequence[Candidate],
        indices: np.ndarray,
        on_ready: OnReady | None = None,
        bar: Bar | None = None,
    ) -> None:
        """Makes sure that features are there; what fails is in `failed`.

        Args:
            candidates: Candidate, in the order to compute them.
            indices: int array `(n,)` of images, each once.
            on_ready: called once for each candidate that did not fail.
            bar: Bar. Counts forward passes.
        """
        groups: dict[Source, list[Candidate]] = {}
        unfit: dict[str, list[str]] = {}
        for candidate in candidates:
            described = self._describe(candidate)
            if described is None:
                reason = self.failed[candidate.handle]
                unfit.setdefault(reason, []).append(candidate.name)
                if bar is not None:
                    bar.skip(len(indices))
                continue
            groups.setdefault(described.source, []).append(candidate)
        for reason, names in unfit.items():
            say(f"Left out {_list_names(names)}: {reason}")
        step = max(1, ROWS_AT_ONCE // len(indices))
        tasks = [
            (source, group[start : start + step], indices, on_ready, bar)
            for source, group in groups.items()
            for start in range(0, len(group), step)
        ]
        if self._processes == 1:
            for task in tasks:
                self._compute_group(*task)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._processes)
            self._stack.callback(self._pool.shutdown)
        waiting = [self._pool.submit(self._compute_group, *t) for t in tasks]
        try:
            for done in waiting:
                done.result()
        except BaseException:  # Ctrl-C too
            self._is_stopping = True
            for task in waiting:
                task.cancel()
            for worker in self._workers:
                worker.kill()
            raise

    def has_all(self, candidates: Sequence[Candidate]) -> bool:
        """Tells whether no forward pass is needed; looks until one is."""
        every = np.arange(self.images.num_examples)
        return all(
            self._describe(candidate) is not None
            and len(self._read(candidate, every)) == len(every)
            for candidate in candidates
        )

    def get(self, candidate: Candidate, indices: np.ndarray) -> np.ndarray:
        """Gives features `(n, channels)`, computed where they are missing.

        Raises:
            ValueError: if the candidate fails.
        """
        kept: list[np.ndarray] = []
        if candidate.handle not in self.failed:
            self.compute([candidate], indices, lambda _, f, __: kept.append(f))
        if not kept:
            raise ValueError(self.failed[candidate.handle])
        return kept[0]

    def _describe(self, candidate: Candidate) -> Described | None:
        if candidate not in self._described:
            try:
                told = (candidate, self._memo, self.images.medium)
                self._described[candidate] = fingerprints.describe(*told)
            except FAILURES as error:
                self.failed[candidate.handle] = str(error)
                return None
        return self._described[candidate]

    def _fail(self, candidate: Candidate, error: Exception) -> None:
        with self._lock:
            self.failed[candidate.handle] = str(error)
            if not self._is_stopping:
                say(f"Left out {candidate.name}: {error}")

    def _compute_group(
        self,
        source: Source,
        group: list[Candidate],
        indices: np.ndarray,
        on_ready: OnReady | None,
        bar: Bar | None,
    ) -> None:
        """Computes what is missing of the parts of one source."""
        started = time.monotonic()
        rows = {c: self._read(c, indices) for c in group}
        missing = {
            c: indices[[place not in rows[c] for place in range(len(indices))]]
            for c in group
        }
        for candidate, found in rows.items():
            self._count(bar, candidate, indices[list(found)], self.cached)
        # Parts that lack the same images go through the source together.
        together: dict[bytes, list[Candidate]] = {}
        for candidate, places in missing.items():
            if len(places):
                together.setdefault(places.tobytes(), []).append(candidate)
        for parts in together.values():
            self._run(source, parts, missing[parts[0]], indices, rows, bar)
        seconds = (time.monotonic() - started) / len(group)
        for candidate in group:
            if candidate.handle in self.failed:
                continue
            found = rows.pop(candidate)
            try:
                features = np.stack([found[i] for i in range(len(indices))])
                check_varied(candidate, features)
                if on_ready is not None:
                    on_ready(candidate, features, seconds)
            except ValueError as error:
                self._fail(candidate, error)

    def _run(
        self,
        source: Source,
        candidates: list[Candidate],
        missing: np.ndarray,
        indices: np.ndarray,
        rows: dict[Candidate, dict[int, np.ndarray]],
        bar: Bar | None,
    ) -> None:
        by_part = {self._described[c].part: c for c in candidates}
        places = {index: place for place, index in enumerate(indices)}
        pending = PendingWrites(self.write)
        done = 0
        widths: dict[str | None, int] = {}
        lock = contextlib.nullcontext()
        if source.runs_here:
            lock = self._function_lock
        try:
            batches = self._runner(source).features(
                source, list(by_part), missing
            )
            for chosen, part, features in _holding(lock, batches):
                candidate = by_part[part]
                if candidate.handle in self.failed:
                    continue
                if not isinstance(features, ValueError):
                    features = of_one_width(features, widths, part, candidate)
                if isinstance(features, ValueError):
                    self._fail(candidate, features)
                    continue
                for index, row in zip(chosen, features, strict=True):
                    rows[candidate][places[index]] = row
                pending.add(candidate, chosen, features)
                done += len(chosen)
                self._count(bar, candidate, chosen, self.embedded)
        except FAILURES as error:
            for candidate in candidates:
                self._fail(candidate, error)
        finally:
            pending.flush()
        left = len(candidates) * len(missing) - done
        if bar is not None and left:
            bar.skip(left)

    def _runner(self, source: Source):
        """Gives what computes: this process, or one for this thread."""
        from keras_experts.selection.embeddings import Embedder

        if self._time_limit is None or source.runs_here:
            if not hasattr(self, "_embedder"):
                self._embedder = Embedder(self.images, self._trust)
            return self._embedder
        if not hasattr(self._local, "worker"):
            worker = Worker(self.images, self._trust, self._time_limit)
            with self._lock:
                self._local.worker = self._stack.enter_context(worker)
                self._workers.append(worker)
        return self._local.worker

    def _count(
        self,
        bar: Bar | None,
        candidate: Candidate,
        images: np.ndarray,
        counts: np.ndarray,
    ) -> None:
        """Adds images to `embedded` or `cached`, each once for a candidate."""
        with self._lock:
            counted = self._counted.setdefault(
                candidate.handle, np.zeros(len(counts), bool)
            )
            counts[images] += ~counted[images]
            counted[images] = True
            if bar is None or not len(images):
                return
            if counts is self.embedded:
                bar.advance(len(images))
            else:
                bar.skip(len(images))

    def _read(self, candidate: Candidate, indices: np.ndarray) -> dict:
        cache, key = self._place(candidate)
        return cache.read(key, self.digests[indices])

    def write(self, candidate: Candidate, indices: np.ndarray, rows) -> None:
        """Keeps features `(n, channels)` of some images."""
        cache, key = self._place(candidate)
        try:
            cache.write(key, self.digests[indices], rows)
        except OSError as error:
            say(f"Features of {candidate.name} are not kept: {error}")

    def _place(self, candidate: Candidate) -> tuple[FeatureCache, str]:
        key = self._described[candidate].key
        if key is None:  # a function that no other selection could know
            name = candidate.handle.encode()
            return self._passing, hashlib.sha256(name).hexdigest()
        return (self._lasting if self._keeps else self._passing), key


def _list_names(names: list[str]) -> str:
    """Returns the first names and the number of the others."""
    more = len(names) - NAMED
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def _holding(lock, batches: Iterator) -> Iterator:
    """Gives batches with a lock held, to the last of them."""
    with lock:
        yield from batches
