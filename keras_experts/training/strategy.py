"""tf.distribute strategies by name."""

import tensorflow as tf

STRATEGIES = {
    "one_device": lambda: tf.distribute.OneDeviceStrategy(_first_device()),
    "mirrored": tf.distribute.MirroredStrategy,
}


def make_strategy(name: str = "one_device") -> tf.distribute.Strategy:
    """Makes a strategy over the local devices.

    Args:
        name: str. "one_device" or "mirrored" (all GPUs, or all logical CPUs).

    Raises:
        ValueError: if there is no such strategy.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {sorted(STRATEGIES)}. "
            f"Received: {name!r}."
        )
    return STRATEGIES[name]()


def _first_device() -> str:
    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
