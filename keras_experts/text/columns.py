"""The columns of a table that hold the texts and the labels."""

import dataclasses
import re
from pathlib import Path

# Names that people give to these columns, in lower case. The first one wins.
TEXT_NAMES = (
    *("text", "texts", "sentence", "review", "content", "body", "message"),
    *("comment", "document", "tweet", "utterance", "question", "headline"),
    *("description", "abstract", "review_text", "text_content", "article"),
)
LABEL_NAMES = (
    *("label", "labels", "class", "category", "sentiment", "target", "topic"),
    *("intent", "tag", "genre", "class_label", "label_text", "class_name"),
)
# How pandas writes or reads a missing value.
MISSING = {
    *("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null"),
    *("NaN", "nan", "None"),
}
WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d*)\.0*")


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of the columns to read.

    Attributes:
        text: str. Column of the texts, or None to look for a usual name.
        label: str. Column of the labels, or None to look for a usual name.
    """

    text: str | None = None
    label: str | None = None


def find_text(columns: list[str], asked: str | None, path: str | Path) -> str:
    """Returns the name of the column that holds the texts.

    Args:
        columns: names of all columns.
        asked: str. The name that the user gave, or None.
        path: of the file, for errors.

    Raises:
        ValueError: if there is none, or several fit.
    """
    return _find(columns, asked, TEXT_NAMES, path)


def find_label(columns: list[str], asked: str | None, path: str | Path) -> str:
    """Returns the name of the column that holds the labels.

    Args:
        columns: as in `find_text`, and so are the others.
        asked: str.
        path: of the file.

    Raises:
        ValueError: if there is none, or several fit.
    """
    return _find(columns, asked, LABEL_NAMES, path)


def has_texts(columns: list[str], asked: str | None = None) -> bool:
    """Returns whether a column has the name asked for, or a usual one."""
    names = TEXT_NAMES if asked is None else (_plain(asked),)
    return any(_plain(column) in names for column in columns)


def label_of(value: object) -> str | None:
    """Returns a label as its class is called, or None where it is missing.

    Numbers are one class however they are written: 0, 0.0 and "0".

    Raises:
        ValueError: if it is neither a text, a boolean nor a whole number.
    """
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # also turns -0.0 into 0
    if not isinstance(value, str | int):  # a bool is an int
        raise ValueError("a label that is not a text or a whole number")
    label = str(value).strip()
    if WHOLE_NUMBER.fullmatch(label):
        label = label.partition(".")[0]
    return None if label in MISSING else label


def _find(
    columns: list[str],
    asked: str | None,
    usual: tuple[str, ...],
    path: str | Path,
) -> str:
    role = usual[0]
    if asked is not None:
        found = [c for c in columns if c == asked] or [
            c for c in columns if _plain(c) == _plain(asked)
        ]
    else:
        found = [c for c in columns if _plain(c) == role] or [
            c for c in columns if _plain(c) in usual
        ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(map(repr, columns)) or "no columns"
    if asked is not None and not found:
        raise ValueError(
            f"`{role}_column` must be a column of the file. "
            f"Received: {asked!r} for {path} with {names}."
        )
    several = "several that could be it" if found else "none"
    raise ValueError(
        f"A file of texts must have one column of {role}s, such as {role!r}; "
        f"another name is given with --{role}_column. Received: {path} with "
        f"{several} among {names}."
    )


def _plain(name: object) -> str:
    return str(name).strip().casefold()
