"""The label hierarchy: a DAG of is-a links, and the expert domains on it."""

from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_experts import hierarchy_files
from keras_experts.checks import check_at_least
from keras_experts.domains import RESERVED_NAME
from keras_experts.domains import ExpertDomain


class Hierarchy:
    """A directed acyclic graph of labels.

    Args:
        parents: mapping from each node to its parents.
        lemmas: mapping from nodes to their names, the usual one first.
        source: str. What it was read from, as commands take it.

    Raises:
        ValueError: if the links contain a cycle.
    """

    def __init__(
        self,
        parents: Mapping[str, Iterable[str]],
        lemmas: Mapping[str, list[str]] | None = None,
        source: str = "",
    ):
        self.parents = {node: tuple(above) for node, above in parents.items()}
        for above in list(self.parents.values()):
            for node in above:
                self.parents.setdefault(node, ())
        self.lemmas = dict(lemmas or {})
        self.source = source
        self._known: dict[str, frozenset[str]] = {}
        self._check_cycles()

    @classmethod
    def read(cls, source: str | Path) -> "Hierarchy":
        """Reads `wordnet:DIR`, or the path of an is-a file or of a CSV."""
        kind, _, directory = str(source).partition("wordnet:")
        if not kind and directory:
            return cls.from_wordnet(directory)
        if str(source).endswith(".csv"):
            return cls.from_csv(source)
        return cls.from_is_a(source)

    @property
    def name(self) -> str:
        """What is published of the source: not where it lies."""
        kind, _, _ = self.source.partition(":")
        return kind if kind == "wordnet" else Path(self.source).name

    @classmethod
    def from_wordnet(cls, directory: str | Path) -> "Hierarchy":
        """Reads WordNet's nouns, with "n" + offset as node names.

        Args:
            directory: path of a folder that holds `data.noun`.

        Raises:
            FileNotFoundError: if it does not.
            ValueError: if the file is not in WordNet's format (wndb(5)).
        """
        links = hierarchy_files.read_wordnet(
            Path(directory).expanduser() / "data.noun"
        )
        return cls(*links, f"wordnet:{directory}")

    @classmethod
    def from_is_a(cls, path: str | Path) -> "Hierarchy":
        """Reads "parent child" lines; a sibling `.words.txt` gives names.

        The sibling of `NAME.is_a.txt` or `NAME.txt` is `NAME.words.txt`, with
        `node<TAB>lemma, lemma` lines.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a line has not two words, or the file has none.
        """
        return cls(
            *hierarchy_files.read_is_a(Path(path).expanduser()), str(path)
        )

    @classmethod
    def from_csv(cls, path: str | Path) -> "Hierarchy":
        """Reads a CSV with the columns `parent` and `child`, a link a row.

        A column `name`, where there is one, holds the child's names, the
        usual one first, with "|" between them. A class that is not a child of
        anything may have an empty `parent`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a column or a child is missing, or the links form a
                cycle.
        """
        return cls(
            *hierarchy_files.read_csv(Path(path).expanduser()), str(path)
        )

    def ancestors(self, node: str) -> frozenset[str]:
        """Gives the node and everything above it, over all links.

        Raises:
            ValueError: if the hierarchy has no such node.
        """
        if node not in self.parents:
            raise ValueError(
                "Labels must be nodes of the hierarchy "
                f"{self.source or 'given'}. Received: {node!r}."
            )
        return self._ancestors(node)

    def count_images(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Counts the images at or under each node, for single-label data.

        Args:
            counts: number of images labelled with each node.
        """
        return self.count_rows(
            ((node,), number) for node, number in counts.items()
        )

    def count_rows(
        self, rows: Iterable[tuple[tuple[str, ...], int]]
    ) -> dict[str, int]:
        """Counts images at or under each node, an image once a node.

        Args:
            rows: pairs of labels that occur together and the number of images
                with exactly these.
        """
        totals: dict[str, int] = {}
        for labels, number in rows:
            for node in self._covering(labels):
                totals[node] = totals.get(node, 0) + number
        return totals

    def choose_experts(
        self,
        counts: Mapping[str, int] | Mapping[tuple[str, ...], int],
        num_experts: int | None = None,
        min_images: int | None = None,
        distinct: bool = False,
        max_fraction: float | None = None,
    ) -> list[ExpertDomain]:
        """Chooses the nodes with most images (paper, section 6.1).

        Args:
            counts: number of images of each label, or of each tuple of
                labels that occur together.
            num_experts: int. How many to choose; or
            min_images: int. Choose all nodes with at least that many.
            distinct: bool. Of nodes with the same images keep one, that
                furthest from the root (our choice).
            max_fraction: float in (0, 1]. Leave out nodes with more than
                this share of all images.

        Returns:
            Domains by falling number of images; equal ones by node.

        Raises:
            ValueError: if not exactly one of the two rules is given, or there
                are fewer nodes than asked for.
        """
        if (num_experts is None) == (min_images is None):
            raise ValueError(
                "Give exactly one of `num_experts` and `min_images`. "
                f"Received: {num_experts} and {min_images}."
            )
        if num_experts is not None:
            check_at_least(num_experts=(num_experts, 1))
        if max_fraction is not None and not 0 < max_fraction <= 1:
            raise ValueError(
                "`max_fraction` must be above 0 and at most 1. "
                f"Received: {max_fraction}."
            )
        rows = [
            (labels if isinstance(labels, tuple) else (labels,), number)
            for labels, number in counts.items()
            if number > 0
        ]
        totals = self.count_rows(rows)
        if max_fraction is not None:
            limit = max_fraction * sum(number for _, number in rows)
            totals = {n: total for n, total in totals.items() if total <= limit}
        if distinct:
            totals = self._distinct(totals, rows)
        order = sorted(totals, key=lambda node: (-totals[node], node))
        if num_experts is None:
            order = [node for node in order if totals[node] >= min_images]
            if not order:
                raise ValueError(
                    "At least one node must have `min_images` images. "
                    f"Received: {min_images}, more than any node has."
                )
        elif num_experts > len(order):
            raise ValueError(
                "The number of experts must not exceed the nodes to choose "
                f"from. Received: {num_experts} experts, {len(order)} nodes."
            )
        names: dict[str, str] = {}
        for node in order[:num_experts]:
            names[self._unused_name(node, names)] = node
        above = self.nearest_above(names.values())
        name_of = {node: name for name, node in names.items()}
        return [
            ExpertDomain(
                index,
                name,
                node,
                totals[node],
                [name_of[parent] for parent in above[node]],
            )
            for index, (name, node) in enumerate(names.items())
        ]

    def membership(
        self, labels: Iterable[str], experts: Iterable[str]
    ) -> np.ndarray:
        """Tells which experts' nodes stand at or above each label.

        Returns:
            Bool array `(labels, experts)`, as LabelRouter takes it.
        """
        experts = list(experts)
        return np.array(
            [
                [expert in self.ancestors(label) for expert in experts]
                for label in labels
            ],
            dtype=bool,
        )

    def nearest_above(self, nodes: Iterable[str]) -> dict[str, list[str]]:
        """Gives of each node the nearest others of these that are above it.

        Args:
            nodes: some of the hierarchy's.

        Returns:
            dict from each node to those above it with none of the others
            between, the one with the most ancestors first.
        """
        chosen = set(nodes)
        nearest = {}
        for node in nodes:
            above = (self.ancestors(node) & chosen) - {node}
            further = set().union(*(self.ancestors(a) - {a} for a in above))
            nearest[node] = sorted(
                above - further, key=lambda a: (-self._depth(a), a)
            )
        return nearest

    def _ancestors(self, node: str) -> frozenset[str]:
        if node in self._known:
            return self._known[node]
        found = {node}
        stack = [node]
        while stack:
            for parent in self.parents[stack.pop()]:
                if parent not in found:
                    found.add(parent)
                    stack.append(parent)
        self._known[node] = frozenset(found)
        return self._known[node]

    def _covering(self, labels: tuple[str, ...]) -> frozenset[str]:
        return frozenset().union(*(self.ancestors(label) for label in labels))

    def _distinct(self, totals, rows) -> dict[str, int]:
        """Keeps the deepest of the nodes that have the same images."""
        images: dict[str, list[int]] = {}
        for row, (labels, _) in enumerate(rows):
            for node in self._covering(labels):
                if node in totals:
                    images.setdefault(node, []).append(row)
        kept: dict[tuple[int, ...], str] = {}
        for node in sorted(totals):
            key = tuple(images[node])
            if key not in kept or self._depth(node) > self._depth(kept[key]):
                kept[key] = node
        return {node: totals[node] for node in kept.values()}

    def _depth(self, node: str) -> int:
        return len(self._ancestors(node))

    def _unused_name(self, node: str, taken: Mapping[str, str]) -> str:
        for lemma in (*self.lemmas.get(node, ()), node):
            name = _readable(lemma)
            if name and name not in (*taken, RESERVED_NAME):
                return name
        return node

    def _check_cycles(self) -> None:
        """Removes leaves until none is left; what stays is in a cycle."""
        children = {node: 0 for node in self.parents}
        for above in self.parents.values():
            for parent in above:
                children[parent] += 1
        ready = [node for node, number in children.items() if not number]
        seen = 0
        while ready:
            seen += 1
            for parent in self.parents[ready.pop()]:
                children[parent] -= 1
                if not children[parent]:
                    ready.append(parent)
        if seen < len(children):
            cycle = sorted(node for node, left in children.items() if left)
            raise ValueError(
                "The is-a links must not form a cycle. Received: one at or "
                f"above {', '.join(cycle[:5])}."
            )


def _readable(lemma: str) -> str:
    lower = lemma.strip().lower()
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in lower)
