"""Routing and targets of upstream images, against Python sets."""

import shutil

import numpy as np
import pytest

from keras_experts.data import synthetic
from keras_experts.data.upstream_sources import count_labels
from keras_experts.data.upstream_sources import csv_upstream
from keras_experts.data.upstream_sources import folder_upstream
from keras_experts.data.upstream_sources import tfds_upstream

CSV = "parent,child,name\n,thing,\nthing,animal,animal|beast\nthing,plant,\n"
CSV += "animal,dog,\nanimal,cat,\nplant,rose,\nanimal,rose,\n"


@pytest.fixture
def folder(tmp_path, image_folder):
    """Images, a list of them with several labels each, and a class DAG."""
    (tmp_path / "classes.csv").write_text(CSV)
    rows = ["image,labels"]
    labels = ["dog", "dog cat", "rose", "", "cat", "rose dog", "dog"]
    for path, names in zip(sorted(image_folder.rglob("*.png")), labels):
        rows.append(f"{path},{names}")
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def several(folder):
    """Upstream images of several labels each, all for training."""
    images = str(folder / "images.csv")
    return csv_upstream(images, str(folder / "classes.csv"), images)


def rows_of(upstream, images):
    return [
        [upstream.nodes[node] for node in images.nodes.row(index)]
        for index in range(images.num_examples)
    ]


def expected_slice(upstream, synset):
    return [
        index
        for index, nodes in enumerate(rows_of(upstream, upstream.train))
        if any(synset in upstream.hierarchy.ancestors(n) for n in nodes)
    ]


@pytest.mark.parametrize("kind", ["one label", "several labels"])
def test_images_go_to_every_expert_above_a_label(kind, several):
    upstream = several
    if kind == "one label":
        upstream = synthetic.synthetic_upstream(2, 1, 8)
    synsets = sorted(upstream.hierarchy.parents)
    slices = upstream.slices(upstream.train, synsets)
    for synset, found in zip(synsets, slices, strict=True):
        assert found.tolist() == expected_slice(upstream, synset)
        assert found.dtype == np.int32
    served = np.bincount(np.concatenate(slices))
    assert served.max() > 2  # one image serves several experts


def test_routing_in_parts_is_routing_at_once(monkeypatch, several):
    whole = several.slices(several.train, ["animal", "plant"])
    monkeypatch.setattr("keras_experts.data.upstream.ROUTED_ROWS", 2)
    parts = several.slices(several.train, ["animal", "plant"])
    assert [p.tolist() for p in parts] == [w.tolist() for w in whole]


def test_sigmoid_learns_labels_and_all_above_them(several):
    outputs = several.outputs("sigmoid")
    assert outputs == ["cat", "dog", "rose", "animal", "plant", "thing"]
    targets = several.targets(several.train, "sigmoid")
    rows = rows_of(several, several.train)
    for image, found in enumerate(targets(np.arange(len(rows)))):
        above = set().union(*map(several.hierarchy.ancestors, rows[image]))
        names = {o for o, value in zip(outputs, found) if value}
        assert names == above


def test_softmax_is_refused_for_several_labels(several):
    with pytest.raises(ValueError, match="one class an image.*'sigmoid'"):
        several.targets(several.train, "softmax")


def test_classes_of_an_image_are_its_labels(several):
    targets = several.class_targets(several.train)
    rows = rows_of(several, several.train)
    for image, found in enumerate(targets(np.arange(len(rows)))):
        names = {c for c, v in zip(several.classes, found) if v}
        assert names == set(rows[image])


def test_expert_targets_are_the_routing(several):
    synsets = ["animal", "plant", "cat"]
    targets = several.expert_targets(several.train, synsets)
    found = targets(np.arange(several.train.num_examples))
    slices = several.slices(several.train, synsets)
    for expert, indices in enumerate(slices):
        assert np.flatnonzero(found[:, expert]).tolist() == indices.tolist()


def test_unknown_node_is_refused(several):
    with pytest.raises(ValueError, match="Received: 'plaid'"):
        several.slices(several.train, ["animal", "plaid"])


def test_label_outside_the_hierarchy_is_named(folder):
    path = folder / "images.csv"
    path.write_text(path.read_text().replace("dog cat", "dog unicorn"))
    with pytest.raises(ValueError, match="classes.csv.*'unicorn'"):
        csv_upstream(str(path), str(folder / "classes.csv"))


def test_row_without_labels_is_named(folder):
    path = folder / "images.csv"
    path.write_text("image,labels\na.png,dog\nb.png\n")
    with pytest.raises(ValueError, match="images.csv, line 3"):
        csv_upstream(str(path), str(folder / "classes.csv"))


def test_list_with_a_byte_order_mark_and_absolute_paths_is_read(folder):
    path = folder / "images.csv"
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    # The fixture's images lie in another folder than the list.
    upstream = csv_upstream(
        str(path), str(folder / "classes.csv"), str(path), str(folder / "no")
    )
    assert upstream.train.num_examples == 7


def test_sub_folder_without_images_is_named(image_folder, tmp_path):
    is_a = tmp_path / "tree.is_a.txt"
    is_a.write_text("animal cat\nanimal dog\nanimal fish\nanimal bee\n")
    shutil.copytree(image_folder, tmp_path / "images")
    (tmp_path / "images" / "bee").mkdir()
    with pytest.raises(ValueError, match="Received: .*/bee with none"):
        folder_upstream(str(tmp_path / "images"), str(is_a))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folder_upstream(str(image_folder), str(is_a), str(tmp_path / "nowhere"))


def test_missing_image_is_named(folder):
    path = folder / "images.csv"
    path.write_text("image,labels\nnothing.png,dog\n")
    with pytest.raises(FileNotFoundError, match="nothing.png"):
        csv_upstream(str(path), str(folder / "classes.csv"), str(path))


def test_images_of_a_list_are_counted_with_all_their_labels(
    folder, image_folder
):
    path = folder / "images.csv"
    text = path.read_text().replace(f"{image_folder}/", "")
    path.write_text(text)  # paths of which the hash is always the same
    counts = count_labels(str(path), "", None)
    # Of those that are trained on: a fifth is held out.
    upstream = csv_upstream(
        str(path), str(folder / "classes.csv"), folder=str(image_folder)
    )
    nodes = upstream.train.nodes
    assert sum(counts.values()) == upstream.train.num_examples < 7
    for row in range(len(nodes)):
        labels = [upstream.nodes[node] for node in nodes.row(row)]
        assert counts[tuple(sorted(labels))] >= 1


def test_folder_of_nodes_is_an_upstream_set(image_folder, tmp_path):
    is_a = tmp_path / "tree.is_a.txt"
    is_a.write_text("animal cat\nanimal dog\nanimal fish\n")
    upstream = folder_upstream(str(image_folder), str(is_a))
    assert upstream.classes == ["cat", "dog", "fish"]
    number = upstream.train.num_examples + upstream.test.num_examples
    assert number == 30 and 1 <= upstream.test.num_examples <= 15
    for images in (upstream.train, upstream.test):
        read = images.read(np.arange(images.num_examples))
        for content, label in zip(read, images.labels, strict=True):
            paths = (image_folder / upstream.classes[label]).iterdir()
            assert content in {path.read_bytes() for path in paths}
    labels = np.bincount(upstream.train.labels)
    assert count_labels(str(image_folder), "", None) == {
        (name,): number
        for name, number in zip(upstream.classes, labels, strict=True)
    }
    (is_a).write_text("animal cat\nanimal dog\n")
    with pytest.raises(ValueError, match="Received: 'fish'"):
        folder_upstream(str(image_folder), str(is_a))


def real_upstream(data_dir, **arguments):
    return tfds_upstream(
        "cifar100_wordnet",
        "hierarchies/cifar100_wordnet.is_a.txt",
        "hierarchies/cifar100_wordnet.classes.csv",
        data_dir=data_dir,
        **arguments,
    )


def test_real_images_lie_at_or_under_their_class(data_dir):
    upstream = real_upstream(data_dir, node_key="synset")
    assert upstream.train.num_examples == 30_000
    for images in (upstream.train, upstream.test):
        nodes = rows_of(upstream, images)
        for (node,), label in zip(nodes, images.labels, strict=True):
            above = upstream.hierarchy.ancestors(node)
            assert upstream.classes[label] in above


def test_real_slices_have_the_sizes_choose_experts_counts(data_dir):
    upstream = real_upstream(data_dir, node_key="synset")
    counts = count_labels("cifar100_wordnet", "synset", data_dir)
    domains = upstream.hierarchy.choose_experts(counts, 40)
    slices = upstream.slices(upstream.train, [d.synset for d in domains])
    assert [len(s) for s in slices] == [d.num_images for d in domains]


def test_column_of_nodes_alone_is_an_upstream_set(data_dir):
    upstream = tfds_upstream(
        "cifar100_wordnet",
        "hierarchies/cifar100_wordnet.is_a.txt",
        label_key="synset",
        data_dir=data_dir,
    )
    rows = rows_of(upstream, upstream.test)
    assert [[upstream.classes[i]] for i in upstream.test.labels] == rows


def test_subset_keeps_labels_and_nodes_together():
    upstream = synthetic.synthetic_upstream(2, 1, 8)
    part = upstream.train.subset(np.array([40, 3]))
    assert part.labels.tolist() == upstream.train.labels[[40, 3]].tolist()
    whole = upstream.train.read(np.array([40, 3]))
    np.testing.assert_array_equal(part.read(np.arange(2)), whole)
    for index, image in enumerate([40, 3]):
        nodes = upstream.train.nodes.row(image)
        assert part.nodes.row(index).tolist() == nodes.tolist()
