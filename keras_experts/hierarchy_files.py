"""Files that hold a label hierarchy: WordNet's, is-a lines, CSV.

Each function gives the parents of each node, and the names of nodes.
"""

import csv
from pathlib import Path

from keras_experts.files import open_text

Links = tuple[dict[str, list[str]], dict[str, list[str]]]

# Of a noun, in wndb(5): the classes it is a kind or an instance of.
HYPERNYM_POINTERS = ("@", "@i")


def read_wordnet(path: Path) -> Links:
    """Reads `data.noun`; nodes are "n" + offset."""
    parents, lemmas = {}, {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith("  "):  # the licence
                continue
            try:
                node, above, words = _parse_noun(line)
            except (ValueError, IndexError) as error:
                raise ValueError(
                    "A line of data.noun must follow wndb(5). "
                    f"Received: {path}, line {number}: {line[:60]!r}."
                ) from error
            parents[node], lemmas[node] = above, words
    return parents, lemmas


def read_is_a(path: Path) -> Links:
    """Reads "parent child" lines, and the names of a sibling."""
    parents: dict[str, list[str]] = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if not words:
                continue
            if len(words) != 2:
                raise ValueError(
                    "A line of an is-a file must be `parent child`. "
                    f"Received: {path}, line {number}: {line.rstrip()!r}."
                )
            parent, child = words
            parents.setdefault(child, [])
            if parent not in parents[child]:
                parents[child].append(parent)
    if not parents:
        raise ValueError(
            f"An is-a file must have at least one link. Received: {path}."
        )
    name = path.name.removesuffix(".txt").removesuffix(".is_a")
    words_path = path.with_name(f"{name}.words.txt")
    lemmas = {}
    if words_path.exists():
        with open_text(words_path) as lines:
            for line in lines:
                node, _, names = line.rstrip("\n").partition("\t")
                lemmas[node] = [word.strip() for word in names.split(",")]
    return parents, lemmas


def read_csv(path: Path) -> Links:
    """Reads the columns `parent`, `child` and, where it is, `name`."""
    parents: dict[str, list[str]] = {}
    lemmas: dict[str, list[str]] = {}
    with open_text(path) as lines:
        reader = csv.DictReader(lines)
        if not {"parent", "child"} <= set(reader.fieldnames or ()):
            raise ValueError(
                "A hierarchy must be a CSV with the columns parent,child. "
                f"Received: {path} with {reader.fieldnames}."
            )
        for row in reader:
            child = (row["child"] or "").strip()
            parent = (row["parent"] or "").strip()
            if not child:
                raise ValueError(
                    "Each row of a hierarchy must name a child. "
                    f"Received: {path}, line {reader.line_num}."
                )
            above = parents.setdefault(child, [])
            if parent and parent not in above:
                above.append(parent)
            names = (row.get("name") or "").split("|")
            if names[0].strip():
                lemmas[child] = [name.strip() for name in names]
    if not parents:
        raise ValueError(f"A hierarchy must have a row. Received: {path}.")
    return parents, lemmas


def _parse_noun(line: str) -> tuple[str, list[str], list[str]]:
    """Reads a line of data.noun: its node, its hypernyms and its lemmas."""
    fields = line.split("|")[0].split()
    num_words = int(fields[3], 16)
    lemmas = fields[4 : 4 + 2 * num_words : 2]
    num_pointers = int(fields[4 + 2 * num_words])
    start = 5 + 2 * num_words
    above = []
    for place in range(start, start + 4 * num_pointers, 4):
        symbol, offset, part = fields[place : place + 3]
        if symbol in HYPERNYM_POINTERS and part == "n":
            above.append(f"n{offset}")
    return f"n{fields[0]}", above, lemmas
