"""Checks of the index that chooses an expert of a bank."""

import keras
import numpy as np
from keras import ops

# Kinds whose values can be checked on any backend, before compilation.
HOST_KINDS = (int, float, list, tuple, np.ndarray, np.generic)
# int32 and int64 are compared as they are; int32 holds all of the others.
INDEX_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16")


def check_values(expert_index, num_experts: int) -> None:
    """Checks an index given as Python or NumPy values; ignores tensors.

    Args:
        expert_index: int, list, array or tensor.
        num_experts: int. Number of experts of the bank.

    Raises:
        ValueError: If the values are not integers in `[-1, num_experts)`.
    """
    if not isinstance(expert_index, HOST_KINDS):
        return
    values = np.asarray(expert_index)
    is_integer = np.issubdtype(values.dtype, np.integer)
    if not is_integer or np.any((values < -1) | (values >= num_experts)):
        raise ValueError(
            "`expert_index` must hold integers in "
            f"[-1, {num_experts}). Received: {expert_index}."
        )


def as_int32(expert_index, num_experts: int):
    """Converts an index to int32, and keeps invalid values invalid.

    Args:
        expert_index: int, list, array or int tensor, scalar, `(1,)` or
            `(batch,)`.
        num_experts: int. Number of experts of the bank.

    Returns:
        Int32 tensor of the same shape. Values outside `[-1, num_experts)`,
        which a cast could turn into another expert, become `num_experts`.

    Raises:
        ValueError: If the index is not of an integer type, or has two or more
            dimensions.
    """
    check_values(expert_index, num_experts)
    index = ops.convert_to_tensor(expert_index)
    dtype = keras.backend.standardize_dtype(index.dtype)
    if dtype not in INDEX_DTYPES:
        raise ValueError(
            f"`expert_index` must have one of the types {INDEX_DTYPES}. "
            f"Received: {dtype}."
        )
    if len(index.shape) > 1:
        raise ValueError(
            "`expert_index` must be a scalar or have shape (1,) or "
            f"(batch,). Received: shape {tuple(index.shape)}."
        )
    if dtype != "int64":
        index = ops.cast(index, "int32")
    is_valid = (index >= -1) & (index < num_experts)
    return ops.cast(ops.where(is_valid, index, num_experts), "int32")
