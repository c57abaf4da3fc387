"""WordNet's glosses as upstream texts and as tasks, for docs/text_experts.md.

    python examples/wordnet_texts.py --wordnet /usr/share/wordnet --output texts

writes `upstream.csv` (glosses of nouns, each with the nearest large class
above it) and `tasks/`, none of whose texts is in it: nouns of two
lexicographer files that are held out, and other parts of speech.
"""

import argparse
import collections
import csv
import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path

from keras_experts.hierarchy import Hierarchy

PARTS = ("noun", "verb", "adj", "adv")
# Of lexnames(5WN), by their numbers from 3 on: nouns', then verbs'.
NOUN_FILES = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition"),
    *("communication", "event", "feeling", "food", "group", "location"),
    *("motive", "object", "person", "phenomenon", "plant", "possession"),
    *("process", "quantity", "relation", "shape", "state", "substance"),
    "time",
)
VERB_FILES = (
    *("body", "change", "cognition", "communication", "competition"),
    *("consumption", "contact", "creation", "emotion", "motion"),
    *("perception", "possession", "social", "stative", "weather"),
)
FILE_NAMES = ("adj.all", "adj.pert", "adv.all", *NOUN_FILES, *VERB_FILES)
HELD_OUT = ("food", "body")
TOPIC, PERTAINS = ";c", "\\"  # pointers of wninput(5WN)
EXAMPLE = re.compile(r'"([^"]+)"')
MIN_UPSTREAM = 100  # glosses at or under an upstream class
MIN_CLASS = 25  # texts of a class of a task


@dataclasses.dataclass(frozen=True)
class Synset:
    """What a line of a data file says.

    Attributes:
        node: str. "n" + offset, of a noun as in `Hierarchy`.
        file: str. Its lexicographer file, without the part of speech.
        lemma: str. Its first word.
        pointers: pairs of a pointer's symbol and its node.
        gloss: str. The definition, without examples.
        examples: list of str.
    """

    node: str
    file: str
    lemma: str
    pointers: list[tuple[str, str]]
    gloss: str
    examples: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    tasks = options.output / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    synsets = {
        part: list(read_synsets(options.wordnet / f"data.{part}"))
        for part in PARTS
    }
    hierarchy = Hierarchy.from_wordnet(options.wordnet)
    nouns = [s for s in synsets["noun"] if s.file not in HELD_OUT]
    rows = label_by_class(nouns, hierarchy, MIN_UPSTREAM)
    write_csv(options.output / "upstream.csv", rows)
    for name, found in make_tasks(synsets, hierarchy).items():
        found = frequent(found)
        write = write_jsonl if name == "examples" else write_csv
        ending = "jsonl" if name == "examples" else "csv"
        write(tasks / f"{name}.{ending}", found)
        print(name, len(found), "texts", len(dict(map(reversed, found))))
    print("upstream", len(rows), "texts", len({label for _, label in rows}))


def make_tasks(
    synsets: dict[str, list[Synset]], hierarchy: Hierarchy
) -> dict[str, list[tuple[str, str]]]:
    """Gives the texts of each task, each with the name of its class."""
    nouns = {s.node: s for s in synsets["noun"]}
    tasks = {
        "verbs": [(s.gloss, s.file) for s in synsets["verb"]],
        "examples": [(e, s.file) for s in synsets["verb"] for e in s.examples],
        "pertainyms": [
            (s.gloss, nouns[above].file)
            for s in synsets["adj"]
            for above in pointed(s, PERTAINS)[:1]
        ],
        "topics": [
            (s.gloss, nouns[above].lemma)
            for part in ("verb", "adj", "adv")
            for s in synsets[part]
            for above in pointed(s, TOPIC)[:1]
        ],
    }
    for file in HELD_OUT:
        own = [s for s in synsets["noun"] if s.file == file]
        rows = label_by_class(own, hierarchy, MIN_CLASS)
        tasks[file] = [(text, nouns[node].lemma) for text, node in rows]
    return tasks


def label_by_class(
    synsets: list[Synset], hierarchy: Hierarchy, minimum: int
) -> list[tuple[str, str]]:
    """Labels glosses with the nearest node above them that has many.

    Returns:
        Pairs of gloss and node; what has no such node above is left out.
    """
    below = collections.Counter(
        node for s in synsets for node in hierarchy.ancestors(s.node)
    )
    rows = []
    for s in synsets:
        above = [
            node
            for node in hierarchy.ancestors(s.node) - {s.node}
            if below[node] >= minimum
        ]
        # The furthest from the root, as it has most above it.
        above.sort(key=lambda node: (-len(hierarchy.ancestors(node)), node))
        rows += [(s.gloss, node) for node in above[:1]]
    return rows


def frequent(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keeps classes of many texts, and of equal texts the first."""
    first = dict(reversed(rows))
    counts = collections.Counter(first.values())
    found = [row for row in first.items() if counts[row[1]] >= MIN_CLASS]
    return found[::-1]


def pointed(synset: Synset, symbol: str) -> list[str]:
    """Lists the nouns that pointers of a kind lead to."""
    return [
        node
        for kind, node in synset.pointers
        if kind == symbol and node.startswith("n")
    ]


def read_synsets(path: Path) -> Iterable[Synset]:
    """Reads a data file of WordNet, as wndb(5WN) describes it."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("  "):  # the licence
                yield parse(line)


def parse(line: str) -> Synset:
    """Reads a line of a data file."""
    data, _, text = line.partition("|")
    fields = data.split()
    start = 4 + 2 * int(fields[3], 16)
    number = int(fields[start])
    pointers = [
        (symbol, part + offset)
        for symbol, offset, part, _ in zip(
            *(iter(fields[start + 1 : start + 1 + 4 * number]),) * 4
        )
    ]
    gloss = EXAMPLE.split(text)[0].strip().rstrip(";").strip()
    return Synset(
        fields[2] + fields[0],
        FILE_NAMES[int(fields[1])] if int(fields[1]) < 44 else "adj.ppl",
        fields[4].replace("_", " "),
        pointers,
        gloss or text.strip(),
        EXAMPLE.findall(text),
    )


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    """Writes texts and labels as a CSV."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def write_jsonl(path: Path, rows: list[tuple[str, str]]) -> None:
    """Writes texts and labels as JSON, one a line."""
    lines = [json.dumps({"text": text, "label": name}) for text, name in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
