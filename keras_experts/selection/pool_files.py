"""Pool files: one module reference per line, with what is known of it."""

import dataclasses
import os
import re
from pathlib import Path

from keras_experts.saved_models import handles
from keras_experts.saved_models import references

COMMENT = re.compile(r"(?:^|\s)#")  # another "#" is that of BANK#expert
# What may follow a module in a line of a pool file.
OPTION = re.compile(
    r"\s+(baseline|image_size=\d+|input_range=-?[\d.]+,-?[\d.]+)$"
)


def read_pool_file(path: Path) -> list[tuple[str, dict]]:
    """Reads a pool file.

    Returns:
        list of pairs: a module reference, whose paths start from the folder of
        the file, and the fields of a `Candidate` that follow it.

    Raises:
        ValueError: if it is not a text file.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A pool file must be text, one module a line. Received: {path}."
        ) from error
    entries = [_split_options(COMMENT.split(x, maxsplit=1)[0]) for x in lines]
    return [
        (_beside(path, reference), options)
        for reference, options in entries
        if reference
    ]


def _beside(pool: Path, reference: str) -> str:
    """Returns a reference of a pool file, whose paths start from that file."""

    def place(module: str) -> str:
        is_ours = module == handles.BUILTIN
        if is_ours or references.is_url(module) or Path(module).is_absolute():
            return module
        return os.path.normpath(pool.parent / module)

    parsed = references.parse(reference, pool.parent)
    preprocessor = parsed.preprocessor and place(parsed.preprocessor)
    return str(
        dataclasses.replace(
            parsed, module=place(parsed.module), preprocessor=preprocessor
        )
    )


def _split_options(line: str) -> tuple[str, dict]:
    """Returns the module reference of a line, and what is known of it."""
    line, options = line.strip(), {}
    while match := OPTION.search(line):
        key, _, value = match[1].partition("=")
        if key == "baseline":
            options["kind"] = handles.BASELINE
        elif key == "image_size":
            options[key] = int(value)
        else:
            low, high = map(float, value.split(","))
            options[key] = (low, high)
        line = line[: match.start()]
    return line, options
