"""Expert domains and image counts, as files."""

import csv
import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path

from keras_experts.files import open_text

# A name becomes a folder and a part of a handle.
NAME_PATTERN = re.compile(r"[\w-][\w.-]*")
RESERVED_NAME = "baseline"


@dataclasses.dataclass(frozen=True)
class ExpertDomain:
    """One node of the hierarchy that gets an expert.

    Attributes:
        index: int. Place in the bank, from 0.
        name: str. Unique and readable, such as "living_thing".
        synset: str. The node, such as "n00004258".
        num_images: int. Images with a label at or under the node.
        parents: list of str. Names of the nearest other experts above it.
    """

    index: int
    name: str
    synset: str
    num_images: int
    parents: list[str] = dataclasses.field(default_factory=list)


def read_counts(path: str | Path) -> dict[str, int]:
    """Reads a CSV with the columns `synset` and `images`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a column is missing or a count is no whole number.
    """
    counts: dict[str, int] = {}
    with open_text(Path(path)) as lines:
        reader = csv.DictReader(lines)
        if not {"synset", "images"} <= set(reader.fieldnames or ()):
            raise ValueError(
                "Counts must be a CSV with the columns synset,images. "
                f"Received: {path} with {reader.fieldnames}."
            )
        for row in reader:
            try:
                number = int(row["images"])
            except (TypeError, ValueError) as error:
                raise ValueError(
                    "The column images must hold whole numbers. Received: "
                    f"{path}, line {reader.line_num}: {row['images']!r}."
                ) from error
            counts[row["synset"]] = counts.get(row["synset"], 0) + number
    if not counts:
        raise ValueError(
            f"Counts must have at least one row. Received: {path}."
        )
    return counts


def experts_to_json(hierarchy: str, experts: Iterable[ExpertDomain]) -> dict:
    """Gives the content of `experts.json`."""
    return {
        "hierarchy": hierarchy,
        "experts": [dataclasses.asdict(expert) for expert in experts],
    }


def read_experts(path: str | Path) -> list[ExpertDomain]:
    """Reads `experts.json`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has another format or no experts, or names are not
            unique.
    """
    with open_text(Path(path)) as file:
        try:
            rows = json.load(file)["experts"] or ()
            experts = [ExpertDomain(**row) for row in rows]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                "experts.json must have a list `experts` of index, name, "
                f"synset and num_images. Received: {path} ({error})."
            ) from error
    if not experts:
        raise ValueError(
            f"experts.json must list at least one expert. Received: {path}."
        )
    for expert in experts:
        name = str(expert.name)
        if not NAME_PATTERN.fullmatch(name) or name == RESERVED_NAME:
            raise ValueError(
                f"An expert's name must match {NAME_PATTERN.pattern} and not "
                f"be {RESERVED_NAME!r}. Received: {name!r} in {path}."
            )
    if len({expert.name for expert in experts}) < len(experts):
        raise ValueError(f"Experts must have unique names. Received: {path}.")
    return experts
