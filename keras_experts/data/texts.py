"""Labelled texts: files of texts as sets of examples.

A text is kept as the bytes of its UTF-8, and tokenised only when batches are
made.
"""

import collections
import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts.console import say
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import from_contents
from keras_experts.data.splits import TRAIN
from keras_experts.data.splits import split_of
from keras_experts.mediums import TEXTS
from keras_experts.text import columns as text_columns
from keras_experts.text import tables
from keras_experts.text.columns import Columns

SHOWN_PLACES = 5  # of the rows that share a fault
EMPTY, NOT_UTF8 = "an empty text", "bytes that are not UTF-8"


@dataclasses.dataclass(frozen=True)
class TextRow:
    """A text of a file.

    Attributes:
        text: bytes. UTF-8.
        label: str. The name of its class, or None where it has none.
        file: str. Path of its file.
        row: int or None. Its number among the records of its file, from 1;
            None where the file is the text.
        place: str. Where its record starts, such as "line 7"; "" where the
            file is the text.
    """

    text: bytes
    label: str | None
    file: str
    row: int | None = None
    place: str = ""

    @property
    def name(self) -> str:
        """The text's place as messages name it."""
        return f"{self.file}, {self.place}" if self.place else self.file


def is_text_file(path: str | Path) -> bool:
    """Returns whether a file is a table of texts, not of images."""
    path = Path(path)
    kind = tables.kind_of(path)
    if kind is None or not path.is_file():
        return False
    if kind == tables.JSON:
        return True
    header = tables.read_header(path)
    return text_columns.has_texts(header) and "image" not in header


def read_texts(
    path: str | Path, labelled: bool = True, columns: Columns = Columns()
) -> list[TextRow]:
    """Reads a file of texts, and reports in one line what was read.

    A row without a text or a label, a damaged one, and one whose bytes are not
    UTF-8 are counted in that line and skipped.

    Args:
        path: of a CSV, TSV or JSONL file, compressed with gzip or not; "-" is
            standard input.
        labelled: bool. Whether rows must have a label.
        columns: Columns. Names of the columns, where they are not usual ones.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no such columns, or no row that can be read.
    """
    return rows_of(tables.read_table(path), path, labelled, columns)


def rows_of(
    table: tables.Table, path: str | Path, labelled: bool, columns: Columns
) -> list[TextRow]:
    """Returns the texts of a table; `read_texts` says more."""
    text = text_columns.find_text(table.columns, columns.text, path)
    label = None
    if labelled:
        label = text_columns.find_label(table.columns, columns.label, path)
    rows, skipped = [], {}
    for number, record in enumerate(table.records, start=1):
        try:
            rows.append(_row(record, text, label, path, number))
        except ValueError as error:
            skipped[record.place] = str(error)
    if not rows:
        raise ValueError(
            "A file of texts must have a row that can be read. "
            f"Received: {path} with {summarize(skipped, 'row')}."
        )
    _report(table, rows, skipped, path, text, label)
    return rows


def _report(
    table: tables.Table,
    rows: list[TextRow],
    skipped: Mapping[str, str],
    path: str | Path,
    text: str,
    label: str | None,
) -> None:
    read = f"{len(rows):,} text{'s' * (len(rows) != 1)}"
    named = f"column {text!r}"
    if label is not None:
        num_classes = len({row.label for row in rows})
        read += f" of {num_classes:,} class{'es' * (num_classes != 1)}"
        named = f"columns {text!r} and {label!r}"
    line = f"Read {path}: {read} ({named}, {table.description})"
    if skipped:
        line += f"; skipped {summarize(skipped, 'row')}"
    say(line)


def summarize(skipped: Mapping[str, str], noun: str) -> str:
    """Returns one phrase for all that was skipped, grouped by the reason.

    Args:
        skipped: of each place, such as "line 7", the reason.
        noun: str. What stands in a place.
    """
    places = collections.defaultdict(list)
    for place, reason in skipped.items():
        places[reason].append(place)
    groups = [
        f"{len(group):,} with {reason} ({_shown(group)})"
        for reason, group in places.items()
    ]
    number = f"{len(skipped):,} {noun}{'s' * (len(skipped) != 1)}"
    return f"{number}: {', '.join(groups)}"


def _shown(places: list[str]) -> str:
    """Lists the first places: "line 3, 4, 7 and 12 more"."""
    first, *others = places[:SHOWN_PLACES]
    kind = first.partition(" ")[0]
    shown = ", ".join([first, *(p.removeprefix(f"{kind} ") for p in others)])
    more = len(places) - SHOWN_PLACES
    return f"{shown} and {more:,} more" if more > 0 else shown


def read_unlabelled(
    path: str | Path, columns: Columns = Columns()
) -> list[TextRow]:
    """Reads the texts of a table, or another file as one text.

    One line reports what was read, as of `read_texts`.

    Args:
        path: of a file; "-" is standard input.
        columns: as in `read_texts`.

    Returns:
        list of TextRow; [] where the file is one text that is empty or not
        UTF-8, which is reported.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a table has no column of texts.
    """
    if tables.kind_of(path) is not None:
        return read_texts(path, labelled=False, columns=columns)
    content = tables.read_content(path)
    table = tables.parse_unnamed(content, path)
    if table is not None and text_columns.has_texts(
        table.columns, columns.text
    ):
        return rows_of(table, path, labelled=False, columns=columns)
    fault = fault_of(content)
    say(f"Read {path}: " + (f"skipped, {fault}" if fault else "one text"))
    return [] if fault else [TextRow(content, None, str(path))]


def read_nodes(
    path: str | Path, columns: Columns = Columns()
) -> list[tuple[TextRow, tuple[str, ...]]]:
    """Reads texts, each with the nodes that its label names, sorted.

    Args:
        path: as in `read_texts`; a label is nodes with spaces between them.
        columns: as in `read_texts`.
    """
    rows = read_texts(path, columns=columns)
    return [(row, tuple(sorted(row.label.split()))) for row in rows]


def key_of(row: TextRow) -> bytes:
    """Returns what a text is told from others by."""
    return row.text


def to_texts(
    rows: Sequence[TextRow], labels: Sequence[int], class_names: list[str]
) -> LabeledImages:
    """Builds a set of texts in memory, in their order."""
    texts = from_contents([row.text for row in rows], labels, class_names)
    return dataclasses.replace(
        texts, medium=TEXTS, name=lambda index: rows[index].name
    )


def from_strings(
    strings: Sequence[str], labels: Sequence[int], class_names: list[str]
) -> LabeledImages:
    """Builds a set of texts from strings.

    Raises:
        ValueError: if one is not a string.
    """
    for index, text in enumerate(strings):
        if not isinstance(text, str):
            raise ValueError(
                f"Texts must be strings. Received: {text!r} at index {index}."
            )
    rows = [
        # A lone surrogate is no character: it becomes a question mark.
        TextRow(text.encode("utf-8", "replace"), None, f"text {index}")
        for index, text in enumerate(strings)
    ]
    return to_texts(rows, labels, class_names)


def fault_of(text: bytes) -> str | None:
    """Returns what is wrong with a text, or None."""
    try:
        return None if text.decode("utf-8").strip() else EMPTY
    except UnicodeDecodeError:
        return NOT_UTF8


def without_faulty(
    name: str, sides: Iterable[LabeledImages]
) -> list[LabeledImages]:
    """Removes texts that are empty or not UTF-8, and reports them in one line.

    Args:
        name: str. What the line calls the texts.
        sides: the sets, such as those to train and to test on.

    Raises:
        ValueError: if none is left in a set that has some.
    """
    good, skipped = [], {}
    for texts in sides:
        contents = texts.read(np.arange(texts.num_examples))
        faults = [fault_of(text) for text in contents]
        kept = [index for index, fault in enumerate(faults) if fault is None]
        if faults and not kept:
            raise ValueError(
                "A task must have a text that can be read. "
                f"Received: none of {texts.num_examples} of {name}."
            )
        skipped.update(
            {texts.name(i): fault for i, fault in enumerate(faults) if fault}
        )
        good.append(texts.subset(kept) if len(kept) < len(faults) else texts)
    if skipped:
        say(f"Read {name}: skipped {summarize(skipped, 'text')}")
    return good


def find_sides(path: str | Path) -> dict[str, Path] | None:
    """Finds the files of texts that a task's path means.

    Returns:
        The path of each split: "train", and "validation" and "test" where
        these are there; or None where the path is not one of texts.

    Raises:
        ValueError: if it is a folder of tables of which it is not clear which
            to read.
    """
    path = Path(path)
    if not path.is_dir():
        is_text = (
            str(path) == tables.STDIN
            or tables.kind_of(path)
            or (path.exists() and path.suffix != ".npz")
        )
        return {TRAIN: path} if is_text else None
    found = sorted(
        file
        for file in path.iterdir()
        if tables.kind_of(file) and file.is_file()
    )
    sides: dict[str, list[Path]] = {}
    for file in found:
        split = split_of(tables.stem_of(file)) or "others"
        sides.setdefault(split, []).append(file)
    others = [file.name for file in sides.pop("others", ())]
    train = sides.get(TRAIN, [])
    has_folders = any(f.is_dir() for f in path.iterdir())
    # Beside folders of images there may be lists of them.
    is_list = train and not is_text_file(train[0])
    if not found or (has_folders and (not train or is_list)):
        return None
    if not train or any(len(files) > 1 for files in sides.values()):
        names = ", ".join(file.name for file in found)
        raise ValueError(
            "A folder of texts must hold one file of training texts, such as "
            "train.csv, and at most one of validation and of test texts, such "
            "as test.csv; name any other file itself. "
            f"Received: {path} with {names}."
        )
    if others:
        say(f"Read {path}: skipped {', '.join(others)}, not named as a split")
    return {split: file for split, (file,) in sides.items()}


def _row(
    record: tables.Record,
    text_column: str,
    label_column: str | None,
    path: str | Path,
    number: int,
) -> TextRow:
    if record.fault is not None:
        raise ValueError(record.fault)
    text = record.fields.get(text_column)
    if not isinstance(text, str):
        raise ValueError("no text")
    # Bytes that are not UTF-8 were read as lone surrogates.
    fault = fault_of(text.encode("utf-8", "surrogatepass"))
    if fault is not None:
        raise ValueError(fault)
    label = None
    if label_column is not None:
        label = text_columns.label_of(record.fields.get(label_column))
        if label is None:
            raise ValueError("no label")
        if fault_of(label.encode("utf-8", "surrogatepass")):
            raise ValueError("a label of bytes that are not UTF-8")
    return TextRow(text.encode(), label, str(path), number, record.place)
