"""Checks of arguments, and what is said about errors that are not ours."""

import re

# TensorFlow puts a traced function before its reason and an operation after.
TRACE_NOTE = re.compile(r"\{\{[^}]*\}\}\s*|\s*\[Op:\w+\]( name:.*)?")


# How errors of traced code begin.
TRACED = ("in user code", "Graph execution error")


def check_at_least(**numbers: tuple[float, float]) -> None:
    """Raises unless each number is at least its bound.

    Args:
        **numbers: by argument name, the value and the smallest one allowed.

    Raises:
        ValueError: if one is smaller, or no number.
    """
    for name, (value, low) in numbers.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, type(low) | int)
            or not value >= low
        ):
            kind = "a whole number" if isinstance(low, int) else "a number"
            raise ValueError(
                f"`{name}` must be {kind} of at least {low}. "
                f"Received: {value!r}."
            )


def first_line(error: Exception | str) -> str:
    """Gives an error's reason, or that in its text, in one line.

    Of an error in traced code that is the last line, below the trace.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    line = lines[0]
    if line.startswith(TRACED):
        # Below it may stand the names of what failed around it.
        line = [x for x in lines if not x.startswith("[[")][-1]
    return TRACE_NOTE.sub("", line)
