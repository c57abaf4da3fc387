"""The collection that comes with the package."""

from pathlib import Path

import numpy as np
import pytest

from keras_experts import domains
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import load_module
from keras_experts.selection.modules import expand

MOST_BYTES = 20_000_000
STUDY = Path(__file__).parents[2] / "study"


@pytest.fixture(scope="module")
def folder():
    return handles.resolve("builtin")


def test_builtin_is_a_baseline_with_each_domain_and_cluster_of_the_study(
    folder,
):
    found = expand(["builtin"])
    names = [candidate.name for candidate in found]
    assert names[0] == "baseline" and found[0].is_baseline
    assert {c.handle for c in found} == {f"builtin#{name}" for name in names}
    assert len(set(names)) == len(names)
    told = {e.name for e in domains.read_experts(STUDY / "experts.json")}
    clusters = {f"cluster_{number:03}" for number in range(14)}
    assert set(names[1:]) == told | clusters
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert size <= MOST_BYTES


def test_one_of_builtin_is_named_as_of_any_bank():
    (found, baseline) = expand(["builtin#insect"])
    assert (found.handle, found.name) == ("builtin#insect", "insect")
    assert baseline.handle == "builtin#baseline" and baseline.is_baseline


def test_builtin_features_are_those_of_the_study_s_weights(folder):
    """Against the network of the packed weights, put together anew."""
    from keras_experts.models import bit_resnet
    from keras_experts.models import heads
    from keras_experts.models.bit_weights import assign
    from keras_experts.models.bit_weights import named_variables

    packed = np.load(STUDY / "upstream.npz")
    kept = {
        key.removeprefix("baseline/"): packed[key].astype(np.float32)
        for key in packed.files
        if key.startswith("baseline/")
        and not key.startswith(("baseline/head", "baseline/prior"))
    }
    settings = handles.read_metadata(str(folder))
    backbone = bit_resnet("r26x0.5_small", width=0.25)
    assign(named_variables(backbone), kept, "the packed weights")
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    expected = np.asarray(heads.image_features(backbone)(images))
    found = np.asarray(load_module(str(folder))(images))
    assert found.shape == (4, settings["num_features"])
    gap = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert gap <= 1e-3
