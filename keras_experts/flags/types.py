"""Types of flags: each checks a value before any work begins.

An error of theirs is a misuse, reported by the parser with the flag's name.
"""

import math
import os
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from keras_experts import config
from keras_experts import files
from keras_experts.saved_models import naming
from keras_experts.saved_models import references

STDIN = STDOUT = "-"
# As in evaluation.suites, which needs TensorFlow.
SUITES = ("vtab1k", "dat")


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """Returns the type of a whole number with inclusive bounds."""
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise _refused(f"a whole number {bounds}", text)
        return number

    return convert


def real(
    low: float = -math.inf, high: float = math.inf, ends: str = "()"
) -> Callable[[str], float]:
    """Returns the type of a finite number.

    Args:
        low: float. Lower bound.
        high: float. Upper bound.
        ends: str. "[" or "(" and "]" or ")": whether each bound is allowed.
    """
    bounds = []
    if low > -math.inf:
        bounds.append(f"{'at least' if ends[0] == '[' else 'above'} {low:g}")
    if high < math.inf:
        bounds.append(f"{'at most' if ends[1] == ']' else 'below'} {high:g}")
    rule = " ".join(["a finite number", " and ".join(bounds)]).rstrip()

    def convert(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        is_above = number >= low if ends[0] == "[" else number > low
        is_below = number <= high if ends[1] == "]" else number < high
        if not (math.isfinite(number) and is_above and is_below):
            raise _refused(rule, text)
        return number

    return convert


def output_file(path: str) -> str:
    """Returns the path of a file that can be written, or "-" for stdout."""
    if path == STDOUT:
        return path
    return _checked(files.check_writable, path)


def output_folder(path: str) -> str:
    """Returns the path of a folder, new or not, that can be written to."""
    return _checked(files.check_folder, path)


def existing_path(path: str) -> str:
    """Returns the path of a file or folder that exists."""
    expanded = os.path.expanduser(path)
    if not os.path.exists(expanded):
        raise ArgumentTypeError(f"{path} does not exist.")
    return expanded


def input_path(path: str) -> str:
    """Returns the path of a file or folder that exists, or "-" for stdin."""
    return path if path == STDIN else existing_path(path)


def existing_folder(path: str) -> str:
    """Returns the path of a folder that exists."""
    expanded = existing_path(path)
    if not os.path.isdir(expanded):
        raise _refused("a folder", path)
    return expanded


def existing_file(path: str) -> str:
    """Returns the path of a file that exists."""
    expanded = existing_path(path)
    if os.path.isdir(expanded):
        raise _refused("a file", path)
    return expanded


def named_or_path(name: str) -> str:
    """Returns a name, or the path of a file or folder that exists.

    What begins like a path, or ends like a file of data, is no name.
    """
    starts = (".", "~", os.sep)
    endings = (".npz", ".csv", ".tsv", ".json", ".jsonl", ".gz")
    is_path = name.startswith(starts) or name.endswith(endings)
    return existing_path(name) if is_path else name


def suite(name: str) -> str:
    """Returns the name of a suite, or the path of a file that exists."""
    if name in SUITES or Path(name).expanduser().exists():
        return name if name in SUITES else existing_file(name)
    raise ArgumentTypeError(
        f"{name} does not exist. A suite is {', '.join(SUITES)} or a JSON file."
    )


def hierarchy(source: str) -> str:
    """Returns `wordnet:DIR`, or the path of a hierarchy that exists."""
    kind, mark, directory = source.partition("wordnet:")
    if mark and not kind:
        return f"{mark}{existing_folder(directory)}"
    return existing_file(source)


def gin_file(path: str) -> str:
    """Returns the path of a gin file, which may be one of the package."""
    found = config.find_file(path)
    if found is None:
        raise ArgumentTypeError(
            f"{path} does not exist, nor does the package have such a file."
        )
    return str(found)


def module(reference: str) -> str:
    """Returns a reference to one module, whose path must exist."""
    parsed = references.parse(reference)
    for place in filter(None, (parsed.module, parsed.preprocessor)):
        is_elsewhere = references.is_url(place) or place == references.BUILTIN
        if not is_elsewhere and not Path(place).exists():
            raise ArgumentTypeError(f"{place} does not exist.")
    return str(parsed)


def bucket(url: str) -> str:
    """Returns a URL of Google's storage."""
    if not url.startswith("gs://"):
        raise _refused("a URL that starts with gs://", url)
    return url


def publisher(name: str) -> str:
    """Returns a publisher that handles may have."""
    return _checked_name("publisher", name, naming.PUBLISHER_PATTERN)


def collection_name(name: str) -> str:
    """Returns a name that modules may have."""
    return _checked_name("name", name, naming.NAME_PATTERN)


def _checked(check: Callable[[str], None], path: str) -> str:
    try:
        check(path)
    except OSError as error:
        raise ArgumentTypeError(f"{path} cannot be written: {error}.") from None
    return os.path.expanduser(path)


def _checked_name(argument: str, name: str, pattern) -> str:
    try:
        naming.check_name(argument, name, pattern)
    except ValueError as error:
        rule = str(error).removeprefix(f"`{argument}` ")
        raise ArgumentTypeError(rule) from None
    return name


def _refused(rule: str, text: str) -> ArgumentTypeError:
    return ArgumentTypeError(f"must be {rule}. Received: {text!r}.")
