"""What a run is spread over, with tf.distribute."""

import contextlib
import json
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_experts.data.batches import untuned

STRATEGIES = ("one_device", "mirrored", "multi_worker", "tpu")
# What tells that another process is gone.
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


def make_strategy(
    name: str = "one_device", tpu: str | None = None
) -> tf.distribute.Strategy:
    """Makes a strategy; call it before anything else touches a device.

    Args:
        name: str. "one_device"; "mirrored" (all GPUs of this machine, or all
            its logical CPUs); "multi_worker" (several machines, each running
            the same command with its own `TF_CONFIG`); or "tpu".
        tpu: str. Name or address of the TPU, or None for the one of this
            machine ("local") or of the environment variable `TPU_NAME`.

    Raises:
        ValueError: if there is no such strategy, or no `TF_CONFIG`.
        RuntimeError: if there is no TPU.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {STRATEGIES}. Received: {name!r}."
        )
    if name == "one_device":
        device = "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
        return tf.distribute.OneDeviceStrategy(device)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        _check_cluster()
        return tf.distribute.MultiWorkerMirroredStrategy()
    return _tpu_strategy(tpu or os.environ.get("TPU_NAME", "local"))


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Gives the number of processes that run the same program."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return max(1, len(resolver.cluster_spec().as_dict().get("worker", ())))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Tells whether this process is the one that writes results."""
    return num_workers(strategy) == 1 or strategy.cluster_resolver.task_id == 0


def distribute(
    strategy: tf.distribute.Strategy,
    make_dataset: Callable[[Sequence[int], int], tf.data.Dataset],
):
    """Gives each replica its own batches.

    Args:
        strategy: tf.distribute.Strategy.
        make_dataset: function of the replicas to read for and of the number
            of all replicas to their batches, by turns.

    Returns:
        A distributed dataset; on one CPU just that of its replica.
    """
    replicas = strategy.num_replicas_in_sync

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        return make_dataset(range(first, first + local), replicas)

    if replicas == 1 and on_cpu():
        # Iterators of devices have a tuner whatever the data set's options say.
        return untuned(make_dataset([0], 1))
    return strategy.distribute_datasets_from_function(make)


def on_cpu() -> bool:
    """Tells whether steps run on CPUs alone."""
    devices = tf.config.list_logical_devices()
    return all(device.device_type == "CPU" for device in devices)


def local_replicas(strategy: tf.distribute.Strategy) -> range:
    """Gives the replicas that this process feeds."""
    local = strategy.num_replicas_in_sync // num_workers(strategy)
    first = 0
    if num_workers(strategy) > 1:
        first = strategy.cluster_resolver.task_id * local
    return range(first, first + local)


@contextlib.contextmanager
def workers_stay(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says in a line that another process is gone, where one is.

    Raises:
        ConnectionError: if it is.
    """
    try:
        yield
    except LOST as error:
        if num_workers(strategy) == 1:
            raise
        raise ConnectionError(
            "All workers must stay until the end; start them all again to go "
            "on from the last checkpoint. Received: one that is gone "
            f"({type(error).__name__})."
        ) from error


def sum_over_workers(
    strategy: tf.distribute.Strategy, values: Sequence[float]
) -> np.ndarray:
    """Adds up what each process gives; every one must call it.

    Returns:
        Float64 array of the length of `values`.
    """
    if num_workers(strategy) == 1:
        return np.array(values, np.float64)
    local = len(local_replicas(strategy))
    own = tf.constant(values, tf.float64) / local
    each = strategy.experimental_distribute_values_from_function(lambda _: own)
    with workers_stay(strategy):
        return strategy.reduce("SUM", each, axis=None).numpy()


def _check_cluster() -> None:
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG", ""))
        workers, task = cluster["cluster"]["worker"], cluster["task"]
        fits = task["type"] == "worker" and task["index"] < len(workers)
    except (json.JSONDecodeError, KeyError, TypeError):
        fits = False
    if not fits:
        raise ValueError(
            "strategy='multi_worker' wants TF_CONFIG, such as "
            '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
            '"task": {"type": "worker", "index": 0}}. '
            f"Received: {os.environ.get('TF_CONFIG')!r}."
        )


def _tpu_strategy(tpu: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:
        raise RuntimeError(
            "strategy='tpu' wants a TPU and the extra keras_experts[tpu]. "
            f"Received: none at {tpu!r} ({type(error).__name__})."
        ) from error
    return tf.distribute.TPUStrategy(resolver)
