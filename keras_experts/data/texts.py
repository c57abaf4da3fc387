"""Labelled texts: CSV and JSONL files with the columns `text` and `label`.

A text is kept as the bytes of its UTF-8, and tokenised only when batches are
made.
"""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts.data.folders import name_left_out
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_contents
from keras_experts.files import open_text
from keras_experts.mediums import TEXTS

ENDINGS = (".csv", ".jsonl")
TEXT, LABEL = "text", "label"
MAX_FIELD = 2**31 - 1  # Python's own limit is 131,072 characters


@dataclasses.dataclass(frozen=True)
class TextRow:
    """A text of a file.

    Attributes:
        text: bytes. UTF-8.
        label: str. As it stands there, or None where there is none.
        name: str. Where it stands.
    """

    text: bytes
    label: str | None
    name: str


def is_text_file(path: str | Path) -> bool:
    """Tells whether a file is a CSV with a column `text`, or JSONL."""
    path = Path(path)
    if not path.is_file() or path.suffix not in ENDINGS:
        return False
    if path.suffix == ".jsonl":
        return True
    with open_text(path, errors="surrogateescape") as lines:
        return TEXT in next(csv.reader(lines), ())


def read_texts(path: str | Path, labelled: bool = True) -> list[TextRow]:
    """Reads a file of texts.

    A row that has no text, no label or bytes that are no UTF-8 is named on
    stderr and left out.

    Args:
        path: of a CSV or a JSONL file.
        labelled: bool. Whether rows must have a label.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no such columns, a line is no JSON object, or no
            row is left.
    """
    path = Path(path)
    read = _read_jsonl if path.suffix == ".jsonl" else _read_csv
    rows, failed = [], {}
    for line, fields in read(path, labelled):
        name = f"{path}, line {line}"
        try:
            rows.append(_row(fields, labelled, name))
        except ValueError as error:
            failed[name] = str(error)
    if not rows:
        reason = next(iter(failed.values()), "it has no row")
        raise ValueError(
            "A file of texts must have a row that can be read. "
            f"Received: {path} with none ({reason})."
        )
    name_left_out(failed)
    return rows


def read_nodes(path: str | Path) -> list[tuple[TextRow, tuple[str, ...]]]:
    """Reads texts, each with the nodes that its label names, sorted.

    Args:
        path: as in `read_texts`; a label is nodes with spaces between them.
    """
    return [(row, tuple(sorted(row.label.split()))) for row in read_texts(path)]


def key_of(row: TextRow) -> bytes:
    """Gives what a text is told from others by."""
    return row.text


def to_texts(
    rows: Sequence[TextRow], labels: Sequence[int], class_names: list[str]
) -> LabeledImages:
    """Makes a set of texts in memory, in their order."""
    texts = from_contents([row.text for row in rows], labels, class_names)
    return dataclasses.replace(
        texts, medium=TEXTS, name=lambda index: rows[index].name
    )


def fault_of(text: bytes) -> str | None:
    """Tells what is wrong with a text, or None."""
    try:
        return None if text.decode("utf-8").strip() else "an empty text"
    except UnicodeDecodeError:
        return "bytes that are no UTF-8"


def without_faulty(texts: LabeledImages) -> LabeledImages:
    """Leaves out texts that are empty or no UTF-8, and names them.

    Raises:
        ValueError: if none is left.
    """
    contents = texts.read(np.arange(texts.num_examples))
    faults = [fault_of(text) for text in contents]
    kept = [index for index, fault in enumerate(faults) if fault is None]
    if not kept:
        raise ValueError(
            "A task must have a text that can be read. "
            f"Received: none of {texts.num_examples}."
        )
    name_left_out(
        {texts.name(i): fault for i, fault in enumerate(faults) if fault}
    )
    return texts.subset(kept) if len(kept) < len(faults) else texts


def _row(fields: dict, labelled: bool, name: str) -> TextRow:
    text, label = fields.get(TEXT), fields.get(LABEL)
    if not isinstance(text, str):
        raise ValueError("no text")
    # Bytes that are no UTF-8 were read as lone surrogates.
    fault = fault_of(text.encode("utf-8", "surrogatepass"))
    if fault is not None:
        raise ValueError(fault)
    if isinstance(label, bool) or not isinstance(label, str | int):
        label = None
    label = None if label is None else str(label).strip() or None
    if labelled and label is None:
        raise ValueError("no label that is a text or a whole number")
    if label is not None and fault_of(label.encode("utf-8", "surrogatepass")):
        raise ValueError("a label with bytes that are no UTF-8")
    return TextRow(text.encode(), label, name)


def _read_csv(path: Path, labelled: bool) -> Iterator[tuple[int, dict]]:
    wanted = {TEXT, LABEL} if labelled else {TEXT}
    with open_text(path, errors="surrogateescape") as lines, _long_fields():
        reader = csv.DictReader(lines)
        if not wanted <= set(reader.fieldnames or ()):
            raise ValueError(
                "A CSV of texts must have the columns "
                f"{','.join(sorted(wanted, reverse=True))}. "
                f"Received: {path} with {reader.fieldnames}."
            )
        for fields in reader:
            yield reader.line_num, fields


def _read_jsonl(path: Path, labelled: bool) -> Iterator[tuple[int, dict]]:
    with open_text(path, errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except json.JSONDecodeError:
                fields = None
            if not isinstance(fields, dict):
                raise ValueError(
                    "A line of a JSONL file must be a JSON object. "
                    f"Received: {path}, line {number}: {line[:60]!r}."
                )
            yield number, fields


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Lets a field of a CSV be a whole document."""
    before = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
