"""Readable descriptions of experts whose names are only numbers."""

import functools

import numpy as np

from keras_experts.saved_models.handles import read_metadata
from keras_experts.saved_models.upstream_labels import read_head
from keras_experts.saved_models.upstream_labels import read_label_prior
from keras_experts.selection.modules import Candidate
from keras_experts.selection.pool_strategies import told_of

NUM_CLASSES = 4  # named of an expert


def describe(candidate: Candidate) -> str | None:
    """Returns the most frequent classes of an expert without a node.

    Experts of clusters, or of random images, have no node of the hierarchy
    that would name them. Their label priors hold how often each class occurs
    among their training images.

    Args:
        candidate: Candidate.

    Returns:
        str, such as "mostly apple, orange, pear, sweet pepper"; None for the
        baseline, for an expert of a node, and where the classes are unknown.

    Raises:
        OSError, ValueError: if the module's files are damaged.
    """
    metadata = told_of(candidate)
    if not metadata.get("domain") or metadata.get("synset"):
        return None
    if candidate.head is None:
        return None
    names = _label_names(candidate.head)
    prior = read_label_prior(candidate.handle)
    if names is None or prior is None or len(names) != len(prior):
        return None
    most = np.argsort(-prior, kind="stable")[:NUM_CLASSES]
    return "mostly " + ", ".join(names[label] for label in most)


@functools.lru_cache(maxsize=8)
def _label_names(handle: str) -> list[str] | None:
    """Returns readable names of a head's labels, or None without a head."""
    head = read_head(handle)
    if head is None:
        return None
    names = read_metadata(handle).get("label_names", {})
    return [names.get(label, label).replace("_", " ") for label in head.labels]
