import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from keras_experts.data import synthetic
from keras_experts.selection import features as features_module
from keras_experts.selection.features import Features
from keras_experts.selection.modules import Candidate
from keras_experts.selection.modules import expand
from tests.selection.modules import mean
from tests.selection.modules import save_module


@pytest.fixture(scope="module")
def images():
    return synthetic.digits_task(60).train


@pytest.fixture(autouse=True)
def new_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_EXPERTS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def module(tmp_path):
    return expand([save_module(tmp_path / "mean", mean)])[0]


def compute(images, candidates, **options):
    """Gives features by handle, and what was done."""
    rows = {}
    indices = np.arange(images.num_examples)
    with Features(images, **options) as features:
        features.compute(
            candidates, indices, lambda c, found, _: rows.update({c: found})
        )
    return {c.handle: found for c, found in rows.items()}, features


def test_second_time_there_is_no_forward_pass(images, module):
    first, done = compute(images, [module])
    assert (done.embedded.sum(), done.cached.sum()) == (60, 0)
    second, done = compute(images, [module])
    assert (done.embedded.sum(), done.cached.sum()) == (0, 60)
    np.testing.assert_array_equal(first[module.handle], second[module.handle])


def test_without_a_cache_nothing_is_kept(images, module, new_cache):
    for _ in range(2):
        _, done = compute(images, [module], cache=False)
        assert (done.embedded.sum(), done.cached.sum()) == (60, 0)
    assert not (new_cache / "features").exists()


def test_larger_task_in_another_order_computes_what_is_new(images, module):
    part, _ = compute(images.take(40), [module])
    order = np.random.default_rng(0).permutation(60)
    found, done = compute(images.subset(order), [module])
    assert (done.embedded.sum(), done.cached.sum()) == (20, 40)
    rows = found[module.handle][np.argsort(order)]
    np.testing.assert_array_equal(rows[:40], part[module.handle])


def test_same_module_elsewhere_is_the_same(images, module, tmp_path):
    compute(images, [module])
    os.rename(module.handle, tmp_path / "moved")
    _, done = compute(images, expand([tmp_path / "moved"]))
    assert done.embedded.sum() == 0


def test_another_size_or_range_or_weight_is_not_the_same(
    images, module, tmp_path
):
    import tensorflow as tf

    compute(images, [module])
    handle = module.handle
    for other in (
        Candidate(handle, "size", image_size=16),
        Candidate(handle, "range", input_range=(-1.0, 1.0)),
    ):
        _, done = compute(images, [other])
        assert done.embedded.sum() == 60
    # In the same place, with another content.
    subprocess.run(["rm", "-r", handle], check=True)
    save_module(handle, lambda x: tf.reduce_max(x, (1, 2)))
    _, done = compute(images, [module])
    assert done.embedded.sum() == 60


def test_damaged_entry_is_computed_again(images, module, new_cache, capsys):
    whole, _ = compute(images, [module])
    (path,) = new_cache.glob("features/*/*/*.features")
    path.write_bytes(path.read_bytes()[:-1])
    found, done = compute(images, [module])
    assert done.embedded.sum() == 60
    assert "damaged" in capsys.readouterr().err
    np.testing.assert_array_equal(found[module.handle], whole[module.handle])


def test_keras_model_is_known_by_its_weights(images):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(3))
    compute(images, expand([model]))
    _, done = compute(images, expand([model]))
    assert done.embedded.sum() == 0
    model.layers[-1].kernel.assign(model.layers[-1].kernel + 1.0)
    _, done = compute(images, expand([model]))
    assert done.embedded.sum() == 60


def test_function_is_known_to_nobody_else(images):
    for _ in range(2):
        _, done = compute(images, expand([mean]))
        assert done.embedded.sum() == 60


def test_only_missing_parts_of_a_bank_are_computed(images, collection):
    bank = collection / "acme/experts/bank/1"
    baseline, form, surface = expand([bank])
    compute(images, [form])
    found, done = compute(images, [baseline, form, surface])
    assert (done.embedded.sum(), done.cached.sum()) == (120, 60)
    assert len({rows.tobytes() for rows in found.values()}) == 3


@pytest.mark.slow
def test_several_processes_give_the_same(images, module, tmp_path):
    other = expand([save_module(tmp_path / "other", lambda x: mean(x) * 2.0)])
    pool = [module, *other]
    alone, _ = compute(images, pool, cache=False)
    found, done = compute(
        images, pool, cache=False, time_limit=100.0, processes=2
    )
    assert done.embedded.sum() == 120
    for handle, rows in alone.items():
        np.testing.assert_allclose(found[handle], rows, atol=1e-6)


def test_full_disk_ends_no_selection(images, module, monkeypatch, capsys):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features_module.FeatureCache, "write", no_space)
    found, _ = compute(images, [module])
    assert found[module.handle].shape == (60, 3)
    assert "are not kept: [Errno 28]" in capsys.readouterr().err


KILLED = """
import os, signal, sys
import numpy as np
from keras_experts.data import synthetic
from keras_experts.selection import cache
from keras_experts.selection import features
from keras_experts.selection.modules import expand
from tests.selection.modules import mean

calls = 0

def deadly(images):
    global calls
    calls += len(images)
    if calls > 120:
        os.kill(os.getpid(), signal.SIGKILL)
    return mean(images)

cache.WRITE_SECONDS = 0.0
pool = [*expand([sys.argv[1]]), *expand([deadly])]
with features.Features(synthetic.digits_task(200).train) as found:
    found.compute(pool, np.arange(200))
"""


@pytest.mark.slow
def test_killed_selection_goes_on_with_what_it_had(module):
    task = synthetic.digits_task(200)
    result = subprocess.run(
        [sys.executable, "-c", KILLED, module.handle], capture_output=True
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    _, done = compute(task.train, [module])
    assert (done.embedded.sum(), done.cached.sum()) == (0, 200)


@pytest.mark.slow
def test_processes_stay_from_one_part_of_a_race_to_the_next(tmp_path, images):
    modules = [
        save_module(tmp_path / f"m{i}", lambda x, i=i: mean(x) * (i + 1.0))
        for i in range(3)
    ]
    candidates = expand(modules)
    with Features(images, time_limit=60, processes=2) as features:
        for size in (10, 20, 30):
            features.compute(candidates, np.arange(size))
        assert 1 <= len(features._workers) <= 2
        assert features.failed == {}
