"""Group normalisation as every network here uses it."""

import keras

EPSILON = 1e-5  # BiT's; Keras' default is 1e-3.


def num_groups(channels: int) -> int:
    """Gives the number of groups for a number of channels.

    Raises:
        ValueError: if `min(32, channels // 2)` does not divide `channels`.
    """
    groups = max(1, min(32, channels // 2))
    if channels % groups:
        raise ValueError(
            "The number of channels must be a multiple of the number of "
            "groups, min(32, channels // 2). "
            f"Received: {channels} channels for {groups} groups."
        )
    return groups


def group_norm(channels: int, name: str) -> keras.layers.GroupNormalization:
    """Makes the group normalisation of a tensor with that many channels."""
    return keras.layers.GroupNormalization(
        groups=num_groups(channels), epsilon=EPSILON, name=name
    )
