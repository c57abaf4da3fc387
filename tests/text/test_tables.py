"""Tables of texts in every form that people have them in."""

import csv
import gzip
import io
import json
import sys
import types

import pytest

from keras_experts.text import tables

ROWS = [("good, film", "yes"), ('a "quoted"\nfilm', "no"), ("dull", "yes")]


def written(delimiter):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows([("text", "y"), *ROWS])
    return buffer.getvalue().encode()


def rows_of(table):
    return [tuple(record.fields.values()) for record in table.records]


FORMS = {
    "a.CSV": (written(","), "separated by commas"),
    "semicolons.csv": (written(";"), "separated by semicolons"),
    "a.tsv": (written("\t"), "separated by tabs"),
    "tabs.txt": (written("\t"), "separated by tabs"),
    "a.csv.gz": (gzip.compress(written(",")), "separated by commas"),
    "utf16.csv": (
        written(",").decode().encode("utf-16"),
        "separated by commas",
    ),
    "mark.csv": ("\ufeff".encode() + written(","), "separated by commas"),
    "a.json": (
        json.dumps([{"text": t, "y": y} for t, y in ROWS]).encode(),
        "JSON",
    ),
    "a.NDJSON": (
        "\n".join(json.dumps({"text": t, "y": y}) for t, y in ROWS).encode(),
        "JSON",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_holds_the_same_rows(tmp_path, name):
    content, description = FORMS[name]
    (tmp_path / name).write_bytes(content)
    table = tables.read_table(tmp_path / name)
    assert rows_of(table) == ROWS
    assert table.columns == ["text", "y"]
    assert table.description == description


def test_standard_input_is_read_for_a_dash(monkeypatch):
    content = types.SimpleNamespace(buffer=io.BytesIO(written(";")))
    monkeypatch.setattr(sys, "stdin", content)
    assert rows_of(tables.read_table("-")) == ROWS


@pytest.mark.parametrize("bad", ['"never closed,no', '"closed" too early,no'])
def test_a_bad_quote_costs_its_row_alone(tmp_path, bad):
    lines = ["text,y", "fine,yes", bad, *(f"row {n},no" for n in range(16))]
    (tmp_path / "a.csv").write_text("\n".join([*lines, '"last, one",yes', ""]))
    records = tables.read_table(tmp_path / "a.csv").records
    assert [r.place for r in records if r.fault] == ["line 3"]
    assert len(records) == 19
    assert records[-1].fields == {"text": "last, one", "y": "yes"}


def test_a_record_is_named_by_the_line_where_it_starts(tmp_path):
    content = 'text,y\n"two\nlines",no\n\n"more\nlines",no,surplus\n'
    (tmp_path / "a.csv").write_text(content)
    good, bad = tables.read_table(tmp_path / "a.csv").records
    assert (good.place, bad.place) == ("line 2", "line 5")
    assert bad.fault == "3 fields where the header has 2"


def test_commas_do_not_split_a_file_of_one_column(tmp_path):
    (tmp_path / "a.csv").write_text('text\nso, it goes\n"quoted, too"\n')
    table = tables.read_table(tmp_path / "a.csv")
    assert rows_of(table) == [("so, it goes",), ("quoted, too",)]


def test_a_bad_line_of_json_costs_its_row_alone(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": \n[1]\n')
    records = tables.read_table(tmp_path / "a.jsonl").records
    assert [r.place for r in records if r.fault] == ["line 2", "line 3"]


def test_a_very_long_field_is_one_text_and_the_limit_is_put_back(tmp_path):
    long = "word, " * 200_000
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "y"), (long, "a")])
    limit = csv.field_size_limit()
    assert rows_of(tables.read_table(tmp_path / "a.csv")) == [(long, "a")]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("letter.txt", b"Dear all,\nthis is, no table, at all\n", "no table"),
        ("photo.xlsx", b"PK\x03\x04\0\0", "must be UTF-8.*photo.xlsx"),
        ("plain.csv", "a,b\nä,c".encode("utf-16-le"), "must be UTF-8, or"),
        (
            "cut.csv.gz",
            gzip.compress(b"text,y\n", mtime=0)[:-9],
            "must be complete",
        ),
        ("a.json", b"[{", "not valid JSON"),
        ("a.csv", b"text,y\n", "without one"),
        ("a.csv", b"", "without one"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        tables.read_table(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.csv .No such file"):
        tables.read_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "name, kind, stem",
    [
        ("a.b.CSV.GZ", "csv", "a.b"),
        ("a.tsv", "csv", "a"),
        ("a.json", "json", "a"),
        ("a.txt", None, "a"),
        ("a.gz", None, "a"),
    ],
)
def test_endings_in_any_case_tell_the_kind(name, kind, stem):
    assert tables.kind_of(name) == kind
    assert tables.stem_of(name) == stem
