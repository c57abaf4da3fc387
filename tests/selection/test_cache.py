import hashlib
import os

import numpy as np
import pytest

from keras_experts.selection.cache import FeatureCache

KEY = hashlib.sha256(b"module").hexdigest()


def digests_of(*names):
    rows = [hashlib.sha256(name.encode()).digest() for name in names]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


def features_of(number, rng):
    return rng.normal(size=(number, 5)).astype(np.float32)


def test_features_come_back_by_the_images_whatever_their_order(cache, rng):
    features = features_of(3, rng)
    cache.write(KEY, digests_of("a", "b", "c"), features)
    found = cache.read(KEY, digests_of("c", "new", "a", "c"))
    assert sorted(found) == [0, 2, 3]
    for place, row in ((0, 2), (2, 0), (3, 2)):
        np.testing.assert_array_equal(found[place], features[row])


def test_another_module_finds_nothing(cache, rng):
    cache.write(KEY, digests_of("a"), features_of(1, rng))
    assert cache.read("0" * 64, digests_of("a")) == {}


def written_file(folder):
    (path,) = (folder / "cache").glob("*/*/*.features")
    return path


@pytest.mark.parametrize(
    ("place", "keep"),
    [(0, None), (3, None), (20, None), (-1, None), (0, 40), (0, 20), (0, 0)],
)
def test_damaged_file_is_noticed_named_and_forgotten(
    cache, rng, capsys, tmp_path, place, keep
):
    cache.write(KEY, digests_of("a"), features_of(1, rng))
    path = written_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFE
    path.write_bytes(content[:keep])
    assert cache.read(KEY, digests_of("a")) == {}
    assert str(path) in capsys.readouterr().err
    assert not path.exists()


def test_entry_of_no_image_is_nothing(cache, rng):
    cache.write(KEY, digests_of("a")[:0], features_of(0, rng))
    assert cache.read(KEY, digests_of("a")) == {}


def test_features_of_other_images_are_not_read(cache, rng, capsys, tmp_path):
    cache.write(KEY, digests_of("other"), features_of(1, rng))
    path = written_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    features = features_of(1, rng)
    cache.write(KEY, digests_of("a"), features)
    found = cache.read(KEY, digests_of("a"))
    np.testing.assert_array_equal(found[0], features[0])
    assert path.exists() and not capsys.readouterr().err
    # Damage is noticed where it would matter.
    assert cache.read(KEY, digests_of("other")) == {}
    assert not path.exists()


def test_what_was_used_least_recently_goes_first(cache, tmp_path, rng):
    for name in ("a", "b", "c"):
        cache.write(KEY, digests_of(name), features_of(1, rng))
    paths = list((tmp_path / "cache").glob("*/*/*.features"))
    for path in paths:
        os.utime(path, (0, 0))
    cache.read(KEY, digests_of("b"))
    size = paths[0].stat().st_size  # of each of the three
    assert FeatureCache(tmp_path / "cache", max_bytes=2 * size - 1).evict() == 2
    assert sorted(cache.read(KEY, digests_of("a", "b", "c"))) == [1]


def test_nothing_half_written_stays(cache, rng, monkeypatch, tmp_path):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", no_space)
    with pytest.raises(OSError, match="No space"):
        cache.write(KEY, digests_of("a"), features_of(1, rng))
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
