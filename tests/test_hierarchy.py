import csv
import json
from pathlib import Path

import numpy as np
import pytest

from keras_experts import Hierarchy
from keras_experts import domains


@pytest.fixture
def diamond():
    """A dog is a pet and a canine; both are animals; a tank is a thing."""
    parents = {
        "dog": ["pet", "canine"],
        "cat": ["pet"],
        "wolf": ["canine"],
        "pet": ["animal"],
        "canine": ["animal"],
        "animal": ["thing"],
        "tank": ["thing"],
    }
    lemmas = {"canine": ["Dog family", "canid"], "pet": ["dog family"]}
    return Hierarchy(parents, lemmas)


COUNTS = {"dog": 10, "cat": 4, "wolf": 3, "tank": 5}


def named(experts):
    return [(expert.name, expert.num_images) for expert in experts]


def test_ancestors_go_over_all_links(diamond):
    expected = {"dog", "pet", "canine", "animal", "thing"}
    assert diamond.ancestors("dog") == expected


def test_image_counts_once_a_node(diamond):
    assert diamond.count_images(COUNTS) == {
        **COUNTS,
        "pet": 14,
        "canine": 13,
        "animal": 17,
        "thing": 22,
    }


def test_image_of_several_labels_counts_once_a_node(diamond):
    totals = diamond.count_rows([(("dog", "cat"), 2), (("tank", "dog"), 1)])
    assert totals["pet"] == 3
    assert totals["animal"] == 3
    assert totals["thing"] == 3


def test_largest_nodes_become_experts(diamond):
    experts = diamond.choose_experts(COUNTS, num_experts=3)
    assert [e.synset for e in experts] == ["thing", "animal", "pet"]
    assert [e.index for e in experts] == [0, 1, 2]


def test_threshold_takes_all_nodes_above_it(diamond):
    experts = diamond.choose_experts(COUNTS, min_images=13)
    assert {e.synset for e in experts} == {"thing", "animal", "pet", "canine"}


def test_distinct_keeps_the_deepest_node_of_a_chain(diamond):
    counts = {"dog": 10, "cat": 4}
    plain = diamond.choose_experts(counts, min_images=14)
    assert {e.synset for e in plain} == {"thing", "animal", "pet"}
    distinct = diamond.choose_experts(counts, min_images=14, distinct=True)
    assert [e.synset for e in distinct] == ["pet"]


def test_nodes_with_equal_numbers_but_other_images_are_distinct(diamond):
    counts = {"cat": 4, "wolf": 4}
    experts = diamond.choose_experts(counts, min_images=4, distinct=True)
    assert {e.synset for e in experts} == {"cat", "wolf", "animal"}


def test_max_fraction_leaves_out_the_largest(diamond):
    experts = diamond.choose_experts(COUNTS, num_experts=1, max_fraction=0.7)
    assert [e.synset for e in experts] == ["pet"]


def test_names_are_unique_and_readable(diamond):
    experts = diamond.choose_experts(COUNTS, min_images=13)
    by_synset = {expert.synset: expert.name for expert in experts}
    assert by_synset == {
        "thing": "thing",
        "animal": "animal",
        "pet": "dog_family",  # first, for it has more images
        "canine": "canid",
    }


def test_membership_is_being_above_a_label(diamond):
    matrix = diamond.membership(["dog", "tank"], ["pet", "thing", "tank"])
    expected = [[True, True, False], [False, True, True]]
    np.testing.assert_array_equal(matrix, expected)


def test_cycle_is_refused():
    with pytest.raises(ValueError, match="must not form a cycle.*a, b"):
        Hierarchy({"a": ["b"], "b": ["a"], "c": ["root"]})


def test_label_outside_the_hierarchy_is_refused(diamond):
    with pytest.raises(ValueError, match="Received: 'cow'"):
        diamond.count_images({"cow": 1})


@pytest.mark.parametrize("rule", [{}, {"num_experts": 1, "min_images": 1}])
def test_exactly_one_rule_is_needed(diamond, rule):
    with pytest.raises(ValueError, match="exactly one"):
        diamond.choose_experts(COUNTS, **rule)


def test_more_experts_than_nodes_are_refused(diamond):
    with pytest.raises(ValueError, match="100 experts, 8 nodes"):
        diamond.choose_experts(COUNTS, num_experts=100)


def test_is_a_file_and_its_words_are_read(tmp_path):
    path = tmp_path / "h.is_a.txt"
    path.write_text("animal dog\nthing animal\nthing animal\n")
    (tmp_path / "h.words.txt").write_text("dog\tdog, domestic dog\n")
    hierarchy = Hierarchy.from_is_a(path)
    assert hierarchy.parents["animal"] == ("thing",)
    assert hierarchy.lemmas["dog"] == ["dog", "domestic dog"]


def test_line_of_three_words_is_named(tmp_path):
    path = tmp_path / "h.txt"
    path.write_text("a b\na b c\n")
    with pytest.raises(ValueError, match="line 2: 'a b c'"):
        Hierarchy.from_is_a(path)


def test_wordnet_has_its_published_size_and_links(wordnet):
    hierarchy = Hierarchy.from_wordnet(wordnet)
    # wnstats(7) of WordNet 3.0: 82,115 noun synsets.
    assert len(hierarchy.parents) == 82_115
    dog = "n02084071"
    assert hierarchy.lemmas[dog][:2] == ["dog", "domestic_dog"]
    # Two hypernyms: canine and domestic animal.
    assert set(hierarchy.parents[dog]) == {"n02083346", "n01317541"}
    assert "n00001740" in hierarchy.ancestors(dog)  # entity


def test_damaged_wordnet_is_named(tmp_path):
    (tmp_path / "data.noun").write_text("00001740 03 n zz entity\n")
    with pytest.raises(ValueError, match="data.noun, line 1"):
        Hierarchy.from_wordnet(tmp_path)


def test_imagenet21k_experts_are_those_of_the_paper(wordnet, data_dir):
    path = Path(data_dir) / "hierarchies" / "imagenet21k.counts.csv"
    counts = domains.read_counts(path)
    hierarchy = Hierarchy.from_wordnet(wordnet)
    totals = hierarchy.count_images(counts)
    assert totals["n00001740"] == sum(counts.values()) == 14_197_114
    # The paper counts 1,741 ancestors that are no classes.
    assert len(totals.keys() - counts.keys()) == 1_705
    names = {e.name for e in hierarchy.choose_experts(counts, num_experts=50)}
    # Named in section 6.1; "plan" there is a slip for plant.
    assert names >= {"animal", "artifact", "organism", "food", "structure"}
    assert names >= {"person", "vehicle", "plant", "instrument"}


def test_cifar100_totals_equal_a_count_by_hand(data_dir):
    folder = Path(data_dir) / "hierarchies"
    with open(folder / "cifar100_wordnet.classes.csv") as file:
        classes = [row["synset"] for row in csv.DictReader(file)]
    hierarchy = Hierarchy.from_is_a(folder / "cifar100_wordnet.is_a.txt")
    totals = hierarchy.count_images(dict.fromkeys(classes, 300))
    links = (folder / "cifar100_wordnet.is_a.txt").read_text().split()
    children = {}
    for parent, child in zip(links[::2], links[1::2], strict=True):
        children.setdefault(parent, set()).add(child)
    below, stack = set(), ["n00015388"]  # animal
    while stack:
        node = stack.pop()
        below.add(node)
        stack.extend(children.get(node, ()))
    assert totals["n00015388"] == 300 * len(below & set(classes))


@pytest.mark.parametrize(
    ("source", "name"),
    [("wordnet:/usr/share/wordnet", "wordnet"), ("/home/me/h.csv", "h.csv")],
)
def test_published_name_of_a_hierarchy_has_no_folder(source, name):
    assert Hierarchy({"a": []}, source=source).name == name


def test_experts_file_comes_back(tmp_path, diamond):
    experts = diamond.choose_experts(COUNTS, num_experts=2)
    path = tmp_path / "experts.json"
    content = domains.experts_to_json("h", experts)
    path.write_text(json.dumps(content))
    assert domains.read_experts(path) == experts
    assert list(content) == ["hierarchy", "experts"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("synset,number\na,1\n", "columns synset,images"),
        ("synset,images\na,many\n", "line 2: 'many'"),
        ("synset,images\n", "at least one row"),
    ],
)
def test_wrong_counts_are_refused(tmp_path, text, message):
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        domains.read_counts(path)


def test_hierarchy_is_read_from_a_csv(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text(
        "parent,child,name\n,thing,\nthing,animal,animal|beast\n"
        "animal,dog,\nthing,toy,\ntoy,dog,\n"
    )
    hierarchy = Hierarchy.read(path)
    assert hierarchy.ancestors("dog") == {"dog", "animal", "toy", "thing"}
    assert hierarchy.lemmas == {"animal": ["animal", "beast"]}
    path.write_text("parent,child\na,b\nb,a\n")
    with pytest.raises(ValueError, match="cycle"):
        Hierarchy.read(path)
    path.write_text("above,below\na,b\n")
    with pytest.raises(ValueError, match="columns parent,child"):
        Hierarchy.read(path)
    path.write_text("parent,child\na,\n")
    with pytest.raises(ValueError, match="name a child.*line 2"):
        Hierarchy.read(path)


def test_nearest_above_leaves_out_what_is_further():
    hierarchy = Hierarchy(
        {"d": ["b", "c"], "b": ["a"], "c": ["a"], "e": ["d", "a"]}
    )
    assert hierarchy.nearest_above(["a", "b", "d", "e"]) == {
        "a": [],
        "b": ["a"],
        "d": ["b"],
        "e": ["d"],
    }
    assert hierarchy.nearest_above(["d", "c", "b"])["d"] == ["b", "c"]


def test_home_folder_is_expanded_in_the_path_of_a_hierarchy(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "h.txt").write_text("animal dog\n")
    (tmp_path / "h.words.txt").write_text("dog\thound\n")
    hierarchy = Hierarchy.read("~/h.txt")
    assert hierarchy.ancestors("dog") == {"dog", "animal"}
    assert hierarchy.lemmas["dog"] == ["hound"]
