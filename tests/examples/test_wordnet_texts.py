"""WordNet's glosses as texts: what stands in the files, counted apart."""

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def script():
    path = EXAMPLES / "wordnet_texts.py"
    spec = importlib.util.spec_from_file_location("wordnet_texts", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def texts(script, wordnet, tmp_path_factory):
    output = tmp_path_factory.mktemp("texts")
    arguments = ["", "--wordnet", str(wordnet), "--output", str(output)]
    before, sys.argv = sys.argv, arguments
    try:
        script.main()
    finally:
        sys.argv = before
    return output


def rows_of(path):
    if path.suffix == ".jsonl":
        lines = path.read_text().splitlines()
        return [(r["text"], r["label"]) for r in map(json.loads, lines)]
    with open(path, newline="") as file:
        return [(r["text"], r["label"]) for r in csv.DictReader(file)]


def test_a_line_is_read_as_wndb_says(script):
    line = (
        "01170052 34 v 02 eat 0 feed 1 002 @ 01156834 v 0000 ;c 00001740 n "
        '0000 01 + 02 00 | take in solid food; "She ate"; "we fed well"  \n'
    )
    found = script.parse(line)
    assert (found.node, found.file, found.lemma) == (
        "v01170052",
        "consumption",
        "eat",
    )
    assert found.pointers == [("@", "v01156834"), (";c", "n00001740")]
    assert found.gloss == "take in solid food"
    assert found.examples == ["She ate", "we fed well"]


def test_upstream_holds_no_text_of_what_is_held_out(texts, wordnet):
    rows = rows_of(texts / "upstream.csv")
    # Lines of data.noun whose file is neither body (08) nor food (13).
    number = sum(
        bool(re.match(r"\d{8} (?!08|13)\d\d n", line))
        for line in (wordnet / "data.noun").read_text().splitlines()
    )
    # The root has nothing above it.
    assert len(rows) == number - 1
    assert {label[0] for _, label in rows} == {"n"}


def test_verbs_are_labelled_with_their_file(texts):
    rows = dict(rows_of(texts / "tasks/verbs.csv"))
    assert len(set(rows.values())) == 15
    assert rows["take in solid food"] == "consumption"


@pytest.mark.parametrize(
    "name", ["verbs.csv", "examples.jsonl", "topics.csv", "food.csv"]
)
def test_no_class_of_a_task_is_small_and_no_text_twice(script, texts, name):
    rows = rows_of(texts / "tasks" / name)
    assert len({text for text, _ in rows}) == len(rows)
    labels = [label for _, label in rows]
    assert min(map(labels.count, set(labels))) >= script.MIN_CLASS
