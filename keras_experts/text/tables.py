"""Reading tables of texts: CSV, TSV and JSON, compressed or not.

The standard library's parsers do the work. What is added is that a damaged
record costs that record alone, and is known by the line where it starts.
"""

import contextlib
import csv
import dataclasses
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

STDIN = "-"
CSV, JSON = "csv", "json"
KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), CSV),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), JSON),
}
GZIP_ENDING, GZIP_START = ".gz", b"\x1f\x8b"
UTF8_START = "\ufeff".encode()
UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = {
    ",": "commas",
    "\t": "tabs",
    ";": "semicolons",
    "|": "vertical bars",
}
# A file of one column has none: it must not be split at a comma of a text.
NO_DELIMITER = "\x1f"
MAX_FIELD = 2**31 - 1  # Python's own limit is 131,072 characters
SNIFFED_RECORDS = 5
HEADER_BYTES = 2**20  # read to find the names of columns alone


@dataclasses.dataclass(frozen=True)
class Record:
    """A record of a table, good or damaged.

    Attributes:
        place: str. Where it starts, such as "line 7".
        fields: dict of column names to values; empty where it is damaged.
        fault: str or None. What is wrong with it.
    """

    place: str
    fields: dict
    fault: str | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A file of records.

    Attributes:
        columns: list of str. The column names, in their order; a name may
            occur twice.
        records: list of Record.
        description: str. How the file was read, such as "separated by tabs".
    """

    columns: list[str]
    records: list[Record]
    description: str


def kind_of(path: str | Path) -> str | None:
    """Returns "csv" or "json" by a file's ending in any case, else None."""
    name = Path(path).name.lower().removesuffix(GZIP_ENDING)
    return KINDS.get(Path(name).suffix)


def stem_of(path: str | Path) -> str:
    """Returns a file's name without the endings of a compressed table."""
    if str(path) == STDIN:
        return "stdin"
    path = Path(path)
    inner = path.with_suffix("") if path.suffix.lower() == GZIP_ENDING else path
    return inner.stem


def read_content(path: str | Path) -> bytes:
    """Reads a file, or standard input for "-", as UTF-8.

    Gzip is unpacked, and UTF-16 with a byte-order mark is converted.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or neither UTF-8 nor marked as UTF-16.
    """
    if str(path) == STDIN:
        content = sys.stdin.buffer.read()
    else:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise FileNotFoundError(
                "A file of texts must be readable. "
                f"Received: {path} ({error.strerror})."
            ) from error
    try:
        if content.startswith(GZIP_START):
            content = gzip.decompress(content)
        if content.startswith(UTF16_STARTS):
            return content.decode("utf-16").encode()
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(
            "A compressed file or one in UTF-16 must be complete. "
            f"Received: {path} ({error})."
        ) from error
    if b"\0" in content:
        raise ValueError(
            "A file of texts must be UTF-8, or UTF-16 with a byte-order mark. "
            f"Received: {path}, which holds zero bytes; save a table as CSV "
            "in UTF-8."
        )
    return content.removeprefix(UTF8_START)


def read_table(path: str | Path) -> Table:
    """Reads the table in a file, by its ending or else by its content.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no table.
    """
    kind, content = kind_of(path), read_content(path)
    if kind is None:
        return parse_unnamed(content, path) or _refuse(path)
    return _parse(content, kind, path)


def parse_unnamed(content: bytes, path: str | Path) -> Table | None:
    """Returns the table in a file whose ending says nothing, or None.

    A table is JSON objects, one a line, or has a first line with several
    columns and as many fields in each of the next records.
    """
    start = content.lstrip()[:1]
    if start == b"{" and isinstance(_loads(content.split(b"\n", 1)[0]), dict):
        return _parse(content, JSON, path)
    lines = _lines(content)
    with _long_fields():
        delimiter = _delimiter(lines, path)
        if delimiter == NO_DELIMITER:
            return None
        first = []
        for _, fields, _ in _records(lines, delimiter):
            first.append(fields)
            if len(first) > SNIFFED_RECORDS:
                break
    if len(first) < 2 or len({len(fields) for fields in first}) > 1:
        return None
    return _parse(content, CSV, path)


def read_header(path: str | Path) -> list[str]:
    """Reads the column names of a CSV file from its beginning."""
    with open(path, "rb") as file:
        is_gzip = file.read(len(GZIP_START)) == GZIP_START
    opened = gzip.open if is_gzip else open
    with opened(path, "rb") as file:
        lines = _lines(file.read(HEADER_BYTES).removeprefix(UTF8_START))
    with _long_fields():
        delimiter = _delimiter(lines, path)
        return next(_records(lines, delimiter), (0, [], None))[1]


def _refuse(path: str | Path) -> Table:
    raise ValueError(
        "A file of texts must be a CSV, TSV or JSONL file, compressed with "
        f"gzip or not. Received: {path}, which holds no table of that kind."
    )


def _parse(content: bytes, kind: str, path: str | Path) -> Table:
    parse = _parse_json if kind == JSON else _parse_csv
    table = parse(content, path)
    if not table.records:
        raise ValueError(
            f"A file of texts must have a row. Received: {path} without one."
        )
    return table


def _lines(content: bytes) -> list[str]:
    # Bytes that are not UTF-8 become lone surrogates: they cost their row.
    text = content.decode("utf-8", "surrogateescape")
    return list(io.StringIO(text, newline=""))


def _parse_csv(content: bytes, path: str | Path) -> Table:
    lines = _lines(content)
    with _long_fields():
        delimiter = _delimiter(lines, path)
        rows = _records(lines, delimiter)
        _, columns, _ = next(rows, (0, [], None))
        records = [
            _record(f"line {line}", columns, fields, fault)
            for line, fields, fault in rows
        ]
    description = "one column"
    if delimiter in DELIMITERS:
        description = f"separated by {DELIMITERS[delimiter]}"
    return Table(columns, records, description)


def _record(
    place: str, columns: list[str], fields: list[str], fault: str | None
) -> Record:
    if fault is None and any(fields[len(columns) :]):
        fault = f"{len(fields)} fields where the header has {len(columns)}"
    if fault is not None:
        return Record(place, {}, fault)
    return Record(place, dict(zip(columns, fields, strict=False)))


def _delimiter(lines: list[str], path: str | Path) -> str:
    """Returns the delimiter that splits the header into most columns."""
    order = list(DELIMITERS)
    if Path(str(path).lower().removesuffix(GZIP_ENDING)).suffix in (
        *(".tsv", ".tab"),
    ):
        order.insert(0, "\t")
    counts = {
        delimiter: len(next(_records(lines, delimiter), (0, [], None))[1])
        for delimiter in order
    }
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] > 1 else NO_DELIMITER


def _records(
    lines: list[str], delimiter: str
) -> Iterator[tuple[int, list[str], str | None]]:
    """Yields each record's first line number, its fields, and its fault.

    A record that cannot be parsed ends with its first line: a quote that is
    never closed does not swallow the rows below it.
    """
    start = 0
    while start < len(lines):
        remaining = _Lines(lines, start)
        fields, fault = [], None
        try:
            fields = next(
                csv.reader(remaining, delimiter=delimiter, strict=True)
            )
            end = remaining.position
        except csv.Error as error:
            fault, end = _reason(error), start + 1
        if fields or fault:
            yield start + 1, fields, fault
        start = end


def _reason(error: csv.Error) -> str:
    if "expected after" in str(error) or "end of data" in str(error):
        return "a quote that is not closed, or is not doubled within a field"
    return str(error)


class _Lines:
    """Lines from a position on, which knows how many were taken."""

    def __init__(self, lines: list[str], position: int):
        self._lines = lines
        self.position = position

    def __iter__(self):
        return self

    def __next__(self) -> str:
        if self.position == len(self._lines):
            raise StopIteration
        self.position += 1
        return self._lines[self.position - 1]


def _parse_json(content: bytes, path: str | Path) -> Table:
    if content.lstrip().startswith(b"["):
        whole = _loads(content)
        if not isinstance(whole, list):
            raise ValueError(
                "A JSON file of texts must hold a list of objects, or one "
                f"object a line. Received: {path}, which is not valid JSON."
            )
        values = [(f"item {n}", value) for n, value in enumerate(whole, 1)]
    else:
        values = [
            (f"line {number}", _loads(line))
            for number, line in enumerate(content.split(b"\n"), start=1)
            if line.strip()
        ]
    records = [
        Record(place, value)
        if isinstance(value, dict)
        else Record(place, {}, "no JSON object")
        for place, value in values
    ]
    columns = dict.fromkeys(key for record in records for key in record.fields)
    return Table(list(columns), records, "JSON")


def _loads(content: bytes) -> object:
    """Parses JSON; None where it is none."""
    try:
        return json.loads(content.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Lets a field of a CSV be a whole document."""
    before = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
