"""Checks of arguments, and what is said about errors that are not ours."""

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

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


def check_utf8(what: str, name: str | Path) -> None:
    """Raises unless a name can be written as UTF-8.

    File systems allow any bytes in names; files and other programs do not.

    Args:
        what: str. What has the name, to begin the message with.
        name: the name.

    Raises:
        ValueError: if it holds bytes that are not UTF-8.
    """
    try:
        str(name).encode()
    except UnicodeEncodeError:
        printable = str(name).encode(errors="backslashreplace").decode()
        raise ValueError(
            f"{what} must be valid UTF-8; rename it. Received: {printable}."
        ) from None


def as_list(values: object) -> list:
    """Returns the values as a list, in which a single one stands alone.

    A text or a path is one value, not its characters.
    """
    if isinstance(values, str | os.PathLike) or not isinstance(
        values, Iterable
    ):
        return [values]
    return list(values)


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


def difference(theirs: dict, ours: dict, limit: int = 5) -> str:
    """Describes in one line where settings differ; "" if they are equal.

    Args:
        theirs: dict of the recorded settings, JSON values.
        ours: dict of the settings of this run, JSON values.
        limit: int. Number of differences to name.
    """
    found = []
    theirs, ours = _flat(theirs), _flat(ours)
    # Settings of the whole run come first: those of its parts may be many.
    names = theirs.keys() | ours.keys()
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        there, here = theirs.get(name), ours.get(name)
        if there != here:
            found.append(f"{name} {there!r} there, {here!r} here")
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return "; ".join(found[:limit]) + more


def _flat(settings: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
