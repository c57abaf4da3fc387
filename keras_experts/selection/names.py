"""Distinct names of modules, or tasks, that would have the same name."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import TypeVar

Named = TypeVar("Named")  # a dataclass with a `name`


def rename_apart(things: Sequence[Named], places: Sequence[str]) -> list[Named]:
    """Returns modules, or tasks, with names of which no two are the same.

    Args:
        things: Candidate or Task.
        places: as in `tell_apart`.
    """
    names = tell_apart([thing.name for thing in things], places)
    return [
        dataclasses.replace(thing, name=name)
        for thing, name in zip(things, names, strict=True)
    ]


def tell_apart(names: Sequence[str], places: Sequence[str]) -> list[str]:
    """Returns names of which no two are the same.

    A name that several have gets the part of the place by which they differ,
    as in "baseline (animals)" and "baseline (plants)", or else a number.

    Args:
        names: str, of each thing.
        places: str, of each thing its path, URL or handle.
    """
    groups = collections.defaultdict(list)
    for index, name in enumerate(names):
        groups[name].append(index)
    found = list(names)
    for name, indices in groups.items():
        if len(indices) > 1:
            # The name of a part of a bank is in its place: it tells nothing.
            own = [places[index].removesuffix(f"#{name}") for index in indices]
            parts = _differences(own)
            for index, part in zip(indices, parts, strict=True):
                found[index] = f"{name} ({part})"
    return found


def _differences(places: list[str]) -> list[str]:
    """Returns short parts of places, all different."""
    split = [place.rstrip("/").split("/") for place in places]
    for length in range(1, max(map(len, split)) + 1):
        # The component at this place alone, or else all from it on.
        for stop in (1 - length or None, None):
            parts = ["/".join(names[-length:stop]) for names in split]
            if len(set(parts)) == len(parts) and all(parts):
                return parts
    return [str(number) for number in range(1, len(places) + 1)]
