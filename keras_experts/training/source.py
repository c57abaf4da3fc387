"""The batches of a run, from any step on, without images that are damaged."""

import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from keras_experts import files
from keras_experts.console import say
from keras_experts.data.batches import find_damaged
from keras_experts.data.batches import training_batches
from keras_experts.data.batches import untuned
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.training import distribution

# The input alone is measured for so long, at most so many batches.
INPUT_SECONDS, INPUT_BATCHES = 2.0, 20
DAMAGED_FILE = "damaged_images.json"


class Source:
    """Gives the batches of a run.

    An image that cannot be decoded is named and left out of all streams: the
    next one stands in for it, in this run and when it goes on later.

    Args:
        streams: Stream, one for each of the plan's, of the same images.
        plan: BatchPlan.
        preprocess: as in `training_batches`.
        mixup: float. As in `training_batches`.
        strategy: tf.distribute.Strategy.
        folder: Path. Where the names of damaged images are kept, or None.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        plan: BatchPlan,
        preprocess: Callable,
        mixup: float,
        strategy: tf.distribute.Strategy,
        folder: Path | None,
    ):
        self._streams = list(streams)
        self._plan = plan
        self._preprocess = preprocess
        self._mixup = mixup
        self._strategy = strategy
        self._path = None if folder is None else folder / DAMAGED_FILE
        if self._path is not None and self._path.exists():
            rows = files.read_json(self._path)["images"]
            self._leave_out([row["index"] for row in rows])

    def iterator(self, first_step: int):
        """Gives each replica's batches from a step on."""

        def batches(replicas: Sequence[int], number: int) -> tf.data.Dataset:
            return self._batches(first_step, replicas, number)

        return iter(distribution.distribute(self._strategy, batches))

    def images_per_second(self, first_step: int) -> float | None:
        """Measures the input alone, on this process."""
        replicas = distribution.local_replicas(self._strategy)
        number = self._strategy.num_replicas_in_sync
        batches = self._batches(first_step, replicas, number)
        images, began = 0, None
        try:
            for batch in untuned(batches.take(1 + INPUT_BATCHES)):
                if began is None:  # the first one starts the pipeline
                    began = time.monotonic()
                    continue
                images += len(batch["image"])
                if time.monotonic() - began > INPUT_SECONDS:
                    break
        except tf.errors.InvalidArgumentError:
            return None  # a damaged image, which training will name
        return images / (time.monotonic() - began) if images else None

    def leave_out_damaged(self, steps: range, error: Exception) -> None:
        """Names the damaged images of some steps, and takes others for them.

        Raises:
            tf.errors.InvalidArgumentError: `error`, if all can be decoded.
        """
        found = find_damaged(
            self._streams,
            self._plan,
            steps,
            distribution.local_replicas(self._strategy),
            self._strategy.num_replicas_in_sync,
        )
        if not found:
            raise error
        name = self._streams[0].images.name
        for index in found:
            say(f"An image cannot be decoded and is left out: {name(index)}")
        self._leave_out(found)
        if self._path is not None:
            rows = [
                {"index": index, "name": name(index)}
                for index in self._streams[0].damaged
            ]
            files.write_json(self._path, {"images": rows})

    def _leave_out(self, indices: Sequence[int]) -> None:
        self._streams = [stream.without(indices) for stream in self._streams]

    def _batches(
        self, first_step: int, replicas: Sequence[int], num_replicas: int
    ) -> tf.data.Dataset:
        return training_batches(
            self._streams,
            self._plan,
            self._preprocess,
            first_step,
            replicas,
            num_replicas,
            self._mixup,
        )
