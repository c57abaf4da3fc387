"""Names of classes among WordNet's lemmas, and scores counted by hand."""

import importlib.util
import sys

import numpy as np
import pytest

from keras_experts.hierarchy import Hierarchy
from keras_experts.selection import name_matching
from keras_experts.selection.name_matching import images_below
from keras_experts.selection.name_matching import match_names
from keras_experts.selection.name_matching import name_score
from tests.conftest import missing

# Of WordNet 3.0.
APPLE, CAR, CUSTARD, DAISY = "n07739125", "n02958343", "n07619409", "n11939491"
DOG, GOOSE, JERSEY, MOUSE = "n02084071", "n01855672", "n03595614", "n02330245"
ROSE, TULIP, SEVEN, SEDAN = "n12620196", "n12454159", "n13744916", "n04166281"
TIGER_CAT, TIGER_PERSON = "n02129604", "n10710632"


@pytest.fixture(scope="session", autouse=True)
def text():
    if importlib.util.find_spec("tensorflow_text") is None:
        missing("tensorflow-text is not installed (pip install '.[text]')")


@pytest.fixture(scope="module")
def nouns(wordnet):
    return Hierarchy.from_wordnet(wordnet)


@pytest.fixture
def zoo():
    """A hierarchy of an is-a file, one of whose nodes has no lemmas."""
    parents = {
        "n1": ["animal"],
        "n2": ["animal"],
        "n3": ["person"],
        "n4": ["n1"],
    }
    lemmas = {
        "n1": ["dog", "hound"],
        "n2": ["cat", "tiger"],
        "n3": ["chap", "dog", "cat"],
        "n4": ["Bulldog", "Crème"],
    }
    return Hierarchy(parents, lemmas)


NAMES = {
    APPLE: ["apple", "apple, Malus pumila"],
    CAR: ["automobile", "car", "motorcar", "Automobiles"],
    CUSTARD: ["Crème brûlée", "creme_brulee", "CRE\u0300ME BRULEE"],
    DAISY: ["daisy", "Daisies", "DAISY", "daisy 2", "wild_daisies"],
    DOG: ["dog", "dogs", "n02084071", "dog_01", "my-dogs"],
    GOOSE: ["geese"],
    JERSEY: ["T-shirt", "t_shirt", "TShirt", "tshirt", "T-shirts"],
    MOUSE: ["mice", "mouse"],
    ROSE: ["roses", "rose"],
    SEDAN: ["BMW Series 3 sedan 2012"],
    SEVEN: ["7"],
    TULIP: ["wild_tulips", "tulip2", "tulips of Holland"],
    None: ["xyzzy", "", "___", "00012", "insidecity", "vitamin Q", "gras"],
}
PLURALS = {
    **{"boxes": "box", "churches": "church", "wishes": "wish"},
    **{"waltzes": "waltz", "policemen": "policeman", "berries": "berry"},
    **{"boxesful": "boxful", "buses": "bus", "leaves": "leaf"},
    **{"men-of-war": "man-of-war", "knives": "knife", "wolves": "wolf"},
}
COMPOUNDS = {
    **{"AnnualCrop": "crop", "annual crop": "crop", "SeaLake": "lake"},
    **{"american_pit_bull_terriers": "pit bull terrier"},
    **{"livingroom": "living room", "hot-dog": "hotdog", "lab": "LAB"},
}


@pytest.fixture(scope="module")
def matched(nouns):
    pairs = {**PLURALS, **COMPOUNDS}
    names = [name for names in NAMES.values() for name in names]
    return match_names([*names, *pairs, *pairs.values(), "glasses"], nouns)


@pytest.mark.parametrize("node", NAMES)
def test_names_lead_to_their_node(matched, node):
    found = {name: matched[name] for name in NAMES[node]}
    assert found == dict.fromkeys(NAMES[node], node)


@pytest.mark.parametrize("name, same", [*PLURALS.items(), *COMPOUNDS.items()])
def test_plurals_and_compounds_are_what_their_lemma_is(matched, name, same):
    assert matched[name] == matched[same] is not None


def test_lemma_is_not_taken_for_a_plural(matched, nouns):
    assert "spectacles" in nouns.lemmas[matched["glasses"]]


def test_of_several_senses_images_decide_and_then_wordnet_s_order(nouns):
    assert match_names(["tiger"], nouns) == {"tiger": TIGER_PERSON}
    images = nouns.count_images({TIGER_CAT: 5, TIGER_PERSON: 4})
    assert match_names(["tiger"], nouns, images) == {"tiger": TIGER_CAT}


def test_other_hierarchies_have_the_more_usual_name_first(zoo):
    names = [
        "dogs",
        "Cat",
        "cre\u0300mes",
        "chap",
        "animal",
        "n3",
        "French dog",
    ]
    assert match_names(names, zoo) == {
        **{"dogs": "n1", "Cat": "n2", "cre\u0300mes": "n4", "chap": "n3"},
        **{"animal": "animal", "n3": "n3", "French dog": "n1"},
    }
    images = {"n3": 2.0, "n1": 1.0}
    assert match_names(["dog"], zoo, images) == {"dog": "n3"}


def test_wordnet_without_its_other_files_is_enough(nouns, wordnet, tmp_path):
    (tmp_path / "data.noun").symlink_to(wordnet / "data.noun")
    alone = Hierarchy.from_wordnet(tmp_path)
    names = {"dogs": DOG, "automobile": CAR, "T-shirt": JERSEY, "geese": None}
    assert match_names(names, alone) == names


def test_accents_and_case_and_width_are_left_out():
    texts = ["Crème BRÛLÉE", "Straße", "ﬁg", "ＡＢＣ", "Ångström", "İ"]
    expected = ["creme brulee", "strasse", "fig", "abc", "angstrom", "i"]
    assert name_matching.normalize(texts) == expected


def test_missing_extra_is_named(monkeypatch, zoo):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(ModuleNotFoundError, match=r"keras_experts\[text\]"):
        match_names(["dog"], zoo)


def test_images_below_count_labels_once_for_each_loss(zoo):
    labels, prior = ["n1", "n4", "n3", "gone"], np.array([0.2, 0.5, 0.2, 0.1])
    below = images_below(labels, prior, "softmax", zoo)
    expected = {"n4": 0.5, "n1": 0.7, "animal": 0.7, "n3": 0.2, "person": 0.2}
    assert below == pytest.approx(expected)
    # A sigmoid's labels are nodes above classes too, which hold them all.
    below = images_below(labels[:3], prior[:3] / 0.9, "sigmoid", zoo)
    assert below == pytest.approx({"n1": 2 / 9, "n4": 5 / 9, "n3": 2 / 9})


def test_score_is_the_expected_log_ratio(zoo):
    nodes, weights = ["n4", "n1", "n2", None], [4, 3, 2, 1]
    # By hand: 0.7 of the task under n1, whose share is a quarter.
    expected = 0.7 * np.log(0.99 / 0.25 + 0.01) + 0.2 * np.log(0.01)
    found = name_score(nodes, weights, "n1", 0.25, zoo)
    assert found == pytest.approx(expected, abs=1e-12)
    # An expert for all that there is is the baseline.
    above = name_score(["n4", "n1", "n2"], [1, 1, 1], "animal", 1.0, zoo)
    assert above == pytest.approx(0, abs=1e-12)
    assert name_score([None, None], [1, 0], "n1", 0.5, zoo) == 0


def test_narrowest_expert_above_all_classes_wins(nouns):
    names = match_names(["beagle", "pug"], nouns)
    shares = {"n00015388": 0.4, DOG: 0.02, "n02121808": 0.01}
    scores = {
        expert: name_score(list(names.values()), [1, 1], expert, share, nouns)
        for expert, share in shares.items()
    }
    assert max(scores, key=scores.get) == DOG
    assert scores["n02121808"] == pytest.approx(np.log(0.01))
    assert scores["n00015388"] == pytest.approx(np.log(0.99 / 0.4 + 0.01))


def test_numbers_that_do_not_fit_are_refused(zoo):
    for arguments, message in (
        ((["n1"], [1, 2], "n1", 0.5), "`weights` must"),
        ((["n1"], [0], "n1", 0.5), "`weights` must"),
        ((["n1", "n2"], [1, -1], "n1", 0.5), "`weights` must"),
        (([], [], "n1", 0.5), "`weights` must"),
        ((["n1"], [1], "n1", 0), "`share` must.*Received: 0"),
        ((["n1"], [1], "n1", 1.5), "`share` must"),
        ((["n1"], [1], "gone", 0.5), "'gone'"),
        ((["gone"], [1], "n1", 0.5), "'gone'"),
    ):
        with pytest.raises(ValueError, match=message):
            name_score(*arguments, zoo)
