"""Checks of arguments, and what is said about errors that are not ours."""

import math
import re

# TensorFlow puts a traced function before its reason and an operation after.
TRACE_NOTE = re.compile(r"\{\{[^}]*\}\}\s*|\s*\[Op:\w+\]( name:.*)?")


# How errors of traced code begin.
TRACED = ("in user code", "Graph execution error")


def check_at_least(**numbers: tuple[float, float]) -> None:
    """Raises unless each number is finite and at least its bound.

    Args:
        **numbers: by argument name, the value and the smallest one allowed.

    Raises:
        ValueError: if one is smaller, not finite, or not a number.
    """
    for name, (value, low) in numbers.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, type(low) | int)
            or not low <= value < math.inf
        ):
            is_whole = isinstance(low, int)
            kind = "a whole number" if is_whole else "a finite number"
            raise ValueError(
                f"`{name}` must be {kind} of at least {low}. "
                f"Received: {value!r}."
            )


def finite_or_none(number: float) -> float | None:
    """Returns a number for JSON, which holds neither NaN nor infinity."""
    return float(number) if math.isfinite(number) else None


def check_local(path: object, what: str) -> None:
    """Raises if a path is the address of something on another machine.

    Args:
        path: str or Path.
        what: str. What the error calls it, with an article.

    Raises:
        FileNotFoundError: if it is an address.
    """
    if "://" in str(path):
        raise FileNotFoundError(
            f"{what} must be on this machine: download it first. "
            f"Received: {path}."
        )


def first_line(error: Exception | str) -> str:
    """Returns the reason of an error, or of an error's text, in one line.

    The reason of an error in traced code is its last line, below the trace.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    line = lines[0]
    if line.startswith(TRACED):
        # Below it may stand the names of what failed around it.
        line = [x for x in lines if not x.startswith("[[")][-1]
    return TRACE_NOTE.sub("", line)
