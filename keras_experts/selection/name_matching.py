"""Class names of a task against the label hierarchy: no image is needed.

A name is looked up among the lemmas of the hierarchy; letters are compared as
tensorflow-text normalises them, and nouns are brought to the singular by
WordNet's own rules (morphy(7WN)).
"""

import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts.files import open_text
from keras_experts.hierarchy import Hierarchy
from keras_experts.mediums import import_tensorflow_text

# Of an ending the one in its place, for nouns, in WordNet's order.
DETACHMENTS = (
    *(("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch")),
    *(("shes", "sh"), ("men", "man"), ("ies", "y")),
)
MEASURE = "ful"  # "boxesful" is many a "boxful"
# Within a word of a name: "AnnualCrop", "tulip2".
JOINTS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
)
SEPARATORS = re.compile(r"[\W_]+")
SYNONYMS = re.compile(r"[,;|]")  # "tench, Tinca tinca"
PREPOSITIONS = ("of", "in", "on", "with", "for")
PRIOR_OF_ALL = 0.01  # the upstream's share in an expert's label prior


def match_names(
    class_names: Iterable[str],
    hierarchy: Hierarchy,
    num_images: Mapping[str, float] | None = None,
) -> dict[str, str | None]:
    """Finds the node of each class name.

    A name that is a node itself is that node. Else the whole name is looked
    up, then what is left of it without its first words, down to the head noun
    ("wild_tulips", "BMW Series 3 sedan 2012"); of "cup of tea" the part
    before the preposition.

    A name may have several senses. The one with most upstream images at or
    under it wins: a class name of a data set is what pictures show, while the
    commonest sense of "tiger" is a person's. Of equal ones, and where images
    are not known, it is the first in WordNet's order; in other hierarchies,
    the node whose more usual name it is (our choice: of CIFAR-100's names 90
    are right with the counts of ImageNet-21k, 77 without).

    Args:
        class_names: such as "dogs", "T-shirt", "Crème brûlée".
        hierarchy: Hierarchy; nodes without lemmas go by their own names.
        num_images: of each node the upstream images at or under it, or what is
            proportional to it, as `images_below` gives it.

    Returns:
        dict from each class name to its node, None where it has none.

    Raises:
        ModuleNotFoundError: if tensorflow-text is not installed.
    """
    names = list(dict.fromkeys(class_names))
    folder = _wordnet_folder(hierarchy)
    senses = _read_senses(hierarchy, folder)
    exceptions = {} if folder is None else _read_exceptions(folder)
    spaced = [JOINTS.sub(" ", SYNONYMS.sub(",", name)) for name in names]
    totals = num_images or {}
    found = {}
    for name, text in zip(names, normalize(spaced), strict=True):
        nodes = next(
            (
                senses[key]
                for phrase in _phrases(text)
                for key in _base_forms(phrase, exceptions)
                if key in senses
            ),
            [None],
        )
        nodes = [name] if name in hierarchy.parents else nodes
        found[name] = max(nodes, key=lambda node: totals.get(node, 0))
    return found


def name_score(
    nodes: Sequence[str | None],
    weights: Sequence[float],
    expert_synset: str,
    share: float,
    hierarchy: Hierarchy,
) -> float:
    """Scores an expert by where a task's classes stand in the hierarchy.

    The expected log ratio of the expert's label prior to the upstream's, as in
    label matching with the classes for labels: `sum_c w_c log(0.99 [c under e]
    / p(e) + 0.01)`. A class without a node counts 0, and so does all of the
    baseline's score. Largest wins; our choice, the paper has no such strategy.

    Args:
        nodes: of each class, of `match_names`.
        weights: float `(classes,)`. How frequent each class is; of any sum
            above 0.
        expert_synset: str. The expert's node.
        share: float in (0, 1]. p(e), the share of upstream images at or under
            the expert's node.
        hierarchy: Hierarchy of the nodes.

    Returns:
        float. Nats, in [log 0.01, -log share].

    Raises:
        ValueError: if lengths differ, a number is out of its range, or the
            hierarchy lacks a node.
    """
    weights = np.asarray(weights, np.float64)
    if weights.shape != (len(nodes),) or not (
        len(nodes) and weights.min() >= 0 and 0 < weights.sum() < np.inf
    ):
        raise ValueError(
            "`weights` must have a value of at least 0 for each class, not all "
            f"of them 0. Received: {weights} for {len(nodes)} classes."
        )
    if not 0 < share <= 1:
        raise ValueError(
            f"`share` must be above 0 and at most 1. Received: {share!r}."
        )
    hierarchy.ancestors(expert_synset)  # raises where there is none
    score = 0.0
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        if node is not None:
            is_under = expert_synset in hierarchy.ancestors(node)
            ratio = (1 - PRIOR_OF_ALL) * is_under / share + PRIOR_OF_ALL
            score += float(weight * np.log(ratio))
    return score


def images_below(
    labels: Sequence[str], prior: np.ndarray, loss: str, hierarchy: Hierarchy
) -> dict[str, float]:
    """Gives the share of upstream images at or under each node.

    Args:
        labels: the upstream's, of its `Head`.
        prior: float array `(labels,)`. The upstream's label prior.
        loss: str. The head's; with "sigmoid" the labels include all nodes
            above a class, and shares are proportional to what they are of.
        hierarchy: Hierarchy. Labels that it lacks are left out.
    """
    shares = {
        label: float(share)
        for label, share in zip(labels, prior, strict=True)
        if label in hierarchy.parents
    }
    return shares if loss == "sigmoid" else hierarchy.count_images(shares)


def normalize(texts: Sequence[str]) -> list[str]:
    """Leaves of texts what a search goes by: no case, no accents.

    Args:
        texts: any of Unicode.

    Returns:
        list of str: compatibility forms decomposed (NFKD), without combining
        marks, case folded.

    Raises:
        ModuleNotFoundError: if tensorflow-text is not installed.
    """
    tensorflow_text = import_tensorflow_text("Matching names")
    import tensorflow as tf

    decomposed = tensorflow_text.normalize_utf8(list(texts), "NFKD")
    plain = tf.strings.regex_replace(decomposed, r"\p{Mn}", "")
    folded = tensorflow_text.case_fold_utf8(plain)
    return [text.decode() for text in folded.numpy()]


def _phrases(text: str) -> list[list[str]]:
    """Lists what of a name may be a lemma, as words, the best first."""
    phrases = []
    for synonym in text.split(","):
        words = [word for word in SEPARATORS.split(synonym) if word]
        phrases.append(list(words))
        while len(words) > 1 and words[-1].isdigit():
            words.pop()  # a number among others of its kind
        cuts = [place for place, w in enumerate(words) if w in PREPOSITIONS]
        head = words[: cuts[0]] if cuts and cuts[0] else words
        heads = [head[start:] for start in range(len(head))]
        # A letter among words is no noun: "vitamin C".
        phrases += [words, *(w for w in heads if len("".join(w)) > 1)]
    return phrases


def _base_forms(words: list[str], exceptions: dict) -> list[str]:
    """Lists what a phrase may be the plural of, itself first, as keys."""
    phrase = "".join(words)
    if not words or phrase in exceptions:
        return [phrase, *exceptions.get(phrase, ())]
    *first, last = words
    ending = MEASURE if last.endswith(MEASURE) else ""
    stem = last.removesuffix(ending)
    found = [last, *exceptions.get(last, ())]
    # WordNet's: "ss" is no plural, nor is what is so short.
    if not last.endswith("ss") and len(last) > 2:
        found += [
            stem.removesuffix(old) + new + ending
            for old, new in DETACHMENTS
            if stem.endswith(old)
        ]
    return ["".join([*first, form]) for form in found]


def _read_senses(
    hierarchy: Hierarchy, folder: Path | None
) -> dict[str, list[str]]:
    """Gives the nodes of each lemma, as a key, the first sense first."""
    index = None if folder is None else folder / "index.noun"
    if index is not None and index.exists():
        named = _read_index(index)
    else:
        named = [
            (place, lemma, node)
            for node in hierarchy.parents
            for place, lemma in enumerate(hierarchy.lemmas.get(node) or [node])
        ]
        named.sort(key=lambda row: row[0])
    senses: dict[str, list[str]] = {}
    texts = normalize([lemma for _, lemma, _ in named])
    for text, (_, _, node) in zip(texts, named, strict=True):
        nodes = senses.setdefault(SEPARATORS.sub("", text), [])
        if node in hierarchy.parents and node not in nodes:
            nodes.append(node)
    return {key: nodes for key, nodes in senses.items() if key and nodes}


def _read_index(path: Path) -> list[tuple[int, str, str]]:
    """Reads WordNet's order of senses, (place, lemma, node) as in wndb(5)."""
    named = []
    with open_text(path) as lines:
        for line in lines:
            if line.startswith("  "):  # the licence
                continue
            lemma, _, number, *fields = line.split()
            for place, offset in enumerate(fields[-int(number) :]):
                named.append((place, lemma, f"n{offset}"))
    return named


def _read_exceptions(folder: Path) -> dict[str, list[str]]:
    """Reads nouns of irregular plural, as keys; none where the file is not."""
    path = folder / "noun.exc"
    if not path.exists():
        return {}
    with open_text(path) as lines:
        rows = [
            [SEPARATORS.sub("", word) for word in line.lower().split()]
            for line in lines
        ]
    return {row[0]: row[1:] for row in rows if row}


def _wordnet_folder(hierarchy: Hierarchy) -> Path | None:
    kind, mark, folder = hierarchy.source.partition("wordnet:")
    return Path(folder) if mark and not kind else None
