"""The images that each expert trains on."""

import collections
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_experts import config
from keras_experts import files
from keras_experts.checks import check_at_least
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.streams import stream_seed
from keras_experts.data.upstream import Upstream
from keras_experts.domains import read_experts
from keras_experts.files import checksum
from keras_experts.models import run_folder


@dataclasses.dataclass(frozen=True)
class Slice:
    """The part of the upstream data that one expert is for.

    Attributes:
        name: str. The expert's name.
        synset: str. Its node, or None where it has none.
        train: int array. Indices of its training images.
        test: int array. Indices of its test images; there may be none.
    """

    name: str
    synset: str | None
    train: np.ndarray
    test: np.ndarray


@config.register
def label_slices(
    data: Upstream,
    workdir: Path,
    features: Callable[[LabeledImages], np.ndarray],
    experts: str | None = None,
) -> list[Slice]:
    """Gives the images at or under each expert's node (paper, section 4.3).

    Args:
        data: Upstream.
        workdir: folder of the run.
        features: function of images to the baseline's features; not used.
        experts: path of an `experts.json`, or None for the one in `workdir`.

    Raises:
        FileNotFoundError: if there is no `experts.json`.
        ValueError: if a node is not in the hierarchy or has no image.
    """
    domains = read_experts(experts or workdir / "experts.json")
    slices = _at_or_under(data, [(d.name, d.synset) for d in domains])
    empty = [part.name for part in slices if not len(part.train)]
    if empty:
        raise ValueError(
            "An expert's slice must have at least one training image. "
            f"Received: none at or under {', '.join(empty[:5])}."
        )
    return slices


@config.register
def largest_slices(
    data: Upstream,
    workdir: Path,
    features: Callable[[LabeledImages], np.ndarray],
    num_experts: int = 28,
) -> list[Slice]:
    """Gives the nodes with most images, whatever they share.

    The paper's plain rule (section 6.1). The nodes above all classes have all
    images, and a chain of nodes has the same: such experts are near copies of
    the baseline and of one another. They are called `largest_NAME`.

    Args:
        data: Upstream.
        workdir: folder of the run; not used.
        features: function of images to the baseline's features; not used.
        num_experts: int. At least 1 and at most the nodes that have images.
    """
    rows, which = data.train.nodes.distinct()
    counts = collections.Counter()
    for row, number in enumerate(np.bincount(which, minlength=len(rows))):
        counts[tuple(data.nodes[node] for node in rows.row(row))] += int(number)
    domains = data.hierarchy.choose_experts(counts, num_experts)
    return _at_or_under(
        data, [(f"largest_{d.name}", d.synset) for d in domains]
    )


def _at_or_under(data: Upstream, nodes: list[tuple[str, str]]) -> list[Slice]:
    """Gives the images at or under nodes, each a name and a synset."""
    synsets = [synset for _, synset in nodes]
    return [
        Slice(name, synset, train, test)
        for (name, synset), train, test in zip(
            nodes,
            data.slices(data.train, synsets),
            data.slices(data.test, synsets),
            strict=True,
        )
    ]


@config.register
def random_slices(
    data: Upstream,
    workdir: Path,
    features: Callable[[LabeledImages], np.ndarray],
    experts: str | None = None,
    seed: int = 0,
) -> list[Slice]:
    """Gives random images, as many as each expert of the hierarchy has.

    What an expert gains by its domain is more than what one gains by as many
    images without any (the ablation in the paper's appendix G; that the sizes
    are equal is our choice). All test images are each one's.

    Args:
        data: Upstream.
        workdir: folder of the run.
        features: function of images to the baseline's features; not used.
        experts: path of an `experts.json`, or None for the one in `workdir`.
        seed: int. Of the choice.

    Raises:
        FileNotFoundError: if there is no `experts.json`.
    """
    everything = np.arange(data.test.num_examples)
    slices = []
    for part in label_slices(data, workdir, features, experts):
        name = f"random_{part.name}"
        rng = np.random.default_rng(stream_seed(seed, name))
        number = data.train.num_examples
        chosen = rng.choice(number, len(part.train), replace=False)
        train = np.sort(chosen).astype(np.int32)
        slices.append(Slice(name, None, train, everything))
    return slices


@config.register
def cluster_slices(
    data: Upstream,
    workdir: Path,
    features: Callable[[LabeledImages], np.ndarray],
    num_clusters: int = 16,
    min_images: int = 1,
    seed: int = 0,
) -> list[Slice]:
    """Gives clusters of the baseline's features: experts without labels.

    What the paper names as future work. The clusters are those of k-means
    (scikit-learn's, in mini-batches), kept in `workdir/clusters/`.

    Args:
        data: Upstream.
        workdir: folder of the run.
        features: function of images to the baseline's features.
        num_clusters: int. At least 2.
        min_images: int. Leave out clusters with fewer training images.
        seed: int. Of k-means.
    """
    from sklearn.cluster import MiniBatchKMeans

    check_at_least(num_clusters=(num_clusters, 2), min_images=(min_images, 1))
    # Other features, other clusters.
    baseline = checksum(workdir / "baseline" / run_folder.MODEL_FILE)[:12]
    name = f"{num_clusters}-seed{seed}-{baseline}.npz"
    path = workdir / "clusters" / name
    if not path.exists():
        means = MiniBatchKMeans(
            num_clusters, random_state=seed, n_init=3, batch_size=4096
        )
        train = means.fit_predict(features(data.train))
        test = means.predict(features(data.test))
        with files.whole_file(path) as temporary:
            np.savez(
                temporary,
                train=train,
                test=test,
                centers=means.cluster_centers_,
            )
    with np.load(path, allow_pickle=False) as found:
        train, test = found["train"], found["test"]
    found = (len(train), len(test))
    wanted = (data.train.num_examples, data.test.num_examples)
    if found != wanted:
        raise ValueError(
            "Clusters must be of the data set's images; remove them to make "
            f"new ones. Received: {path}, of {found} and not {wanted} images."
        )
    slices = []
    for cluster in range(num_clusters):
        inside = np.flatnonzero(train == cluster).astype(np.int32)
        if len(inside) >= min_images:
            held_out = np.flatnonzero(test == cluster)
            name = f"cluster_{cluster:03d}"
            slices.append(Slice(name, None, inside, held_out))
    return slices
