"""Training, validation and test splits: their names, and splitting by hash."""

import hashlib
from collections.abc import Iterable

from keras_experts.console import say

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# The names by which people call each split, in lower case.
NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
# Fraction of the examples of a task without a test split that become one.
TEST_FRACTION = 0.2


def split_of(name: str) -> str | None:
    """Returns the split that a name stands for, in any case, or None."""
    return NAMES.get(name.casefold())


def find_splits(names: Iterable[str], where: object) -> dict[str, str]:
    """Returns the name of each split among some names.

    Args:
        names: strings.
        where: what holds them, for the error message.

    Raises:
        ValueError: if several names stand for the same split.
    """
    splits: dict[str, str] = {}
    for name in sorted(names):
        split = split_of(name)
        if split in splits:
            raise ValueError(
                f"A task must have one {split} split. "
                f"Received: {where} with {splits[split]} and {name}."
            )
        if split is not None:
            splits[split] = name
    return splits


def choose_splits(
    name: str, found: dict[str, str], with_validation: bool
) -> dict[str, str]:
    """Returns the splits to read, and says what a validation split is for.

    Without a test split the validation split is one.

    Args:
        name: str. Of the task.
        found: dict. Of `find_splits`.
        with_validation: bool. Whether to keep the validation split besides a
            test split.
    """
    validation = found.get(VALIDATION)
    if validation is None or (TEST in found and with_validation):
        return found
    rest = {split: found[split] for split in found if split != VALIDATION}
    if TEST in found:
        say(
            f"{name}: the split {validation} is used by `finetune` with "
            "`--validation` only"
        )
        return rest
    say(f"{name}: the split {validation} serves as the missing test split")
    return {**rest, TEST: validation}


def split_by_hash(contents: list[bytes]) -> tuple[list[int], list[int]]:
    """Splits contents into training and test by their hash.

    The same content goes to the same side whatever else there is, so exact
    copies stay together. Within a side the order is the hash's, so that the
    first thousand examples are of all classes.

    Returns:
        Positions of the training contents, and of the test contents.
    """
    return split_digests([digest(content) for content in contents])


def split_digests(digests: list[bytes]) -> tuple[list[int], list[int]]:
    """Splits by hash as `split_by_hash` does, given the SHA-256 digests."""
    order = sorted(range(len(digests)), key=lambda i: (digests[i], i))
    # Other bytes than those that decide the order.
    limit = int(TEST_FRACTION * 2**64)
    is_test = [int.from_bytes(d[-8:], "big") < limit for d in digests]
    train = [index for index in order if not is_test[index]]
    return train, [index for index in order if is_test[index]]


def digest(content: bytes) -> bytes:
    """Returns the SHA-256 digest of a content."""
    return hashlib.sha256(content).digest()
