"""Heads and label priors of modules, and what is no such thing."""

import zipfile

import numpy as np
import pytest
from scipy import special

from keras_experts import files
from keras_experts.saved_models import handles
from keras_experts.saved_models.upstream_labels import HEAD_FILE
from keras_experts.saved_models.upstream_labels import PRIOR_FILE
from keras_experts.saved_models.upstream_labels import PRIORS_FILE
from keras_experts.saved_models.upstream_labels import Head
from keras_experts.saved_models.upstream_labels import read_head
from keras_experts.saved_models.upstream_labels import read_label_prior
from keras_experts.saved_models.upstream_labels import read_label_priors
from keras_experts.saved_models.upstream_labels import save_head
from keras_experts.saved_models.upstream_labels import stack_priors

LABELS = ["n1", "n2", "n3"]
PRIORS = [[0.5, 0.25, 0.25], [0.75, 0.125, 0.125], [np.nan] * 3]


@pytest.fixture
def head(rng):
    kernel = rng.normal(size=(4, 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    return Head(kernel, bias, LABELS, "softmax")


@pytest.fixture
def module(head, tmp_path):
    """A baseline with a head and a prior, as far as is read."""
    folder = tmp_path / "module"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    save_head(head, folder / HEAD_FILE)
    np.save(folder / PRIOR_FILE, np.array(PRIORS[0], np.float32))
    told = {"kind": "baseline", "loss": "softmax", "num_features": 4}
    told |= {"head_sha256": "", "label_prior_sha256": ""}
    files.write_json(folder / handles.METADATA_FILE, told)
    return folder


@pytest.fixture
def bank(module):
    """The same as a bank of two experts, one of which has no prior."""
    tell(module, kind="bank", experts=[{"name": "a"}, {"name": "b"}])
    tell(module, label_priors_sha256="")
    np.save(module / PRIORS_FILE, np.array(PRIORS, np.float32))
    return module


def tell(module, **fields):
    """Changes what a module tells of itself; None takes a field away."""
    path = module / handles.METADATA_FILE
    content = {**files.read_json(path), **fields}
    kept = {key: value for key, value in content.items() if value is not None}
    files.write_json(path, kept)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_probabilities_are_scipy_s(module, head, rng, loss):
    tell(module, loss=loss)
    features = rng.normal(size=(5, 4)).astype(np.float32) * 20
    found = read_head(str(module))
    assert (found.labels, found.loss) == (LABELS, loss)
    logits = features.astype(np.float64) @ head.kernel + head.bias
    expected = {
        "softmax": special.softmax(logits, axis=1),
        "sigmoid": special.expit(logits),
    }[loss]
    probabilities = found.probabilities(features)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"4 channels. Received: \(5, 3\)"):
        found.probabilities(features[:, :3])


def test_probabilities_of_extreme_logits_are_finite(head):
    features = np.array([[1e30, 0, 0, 0], [-1e30, 0, 0, 0]])
    for loss in ("softmax", "sigmoid"):
        extreme = Head(head.kernel, head.bias, LABELS, loss)
        values = extreme.probabilities(features)
        assert ((values >= 0) & (values <= 1)).all()


def test_module_that_tells_of_none_has_none(module):
    tell(module, head_sha256=None, label_prior_sha256=None)
    assert read_head(str(module)) is None
    assert read_label_prior(str(module)) is None
    tell(module, kind="bank", experts=[{"name": "a"}])
    assert read_label_prior(f"{module}#a") is None
    assert read_label_priors(str(module)) == [None, None]


def test_prior_of_a_module_is_read(module):
    prior = read_label_prior(str(module))
    assert prior.dtype == np.float64
    np.testing.assert_array_equal(prior, PRIORS[0])


def test_priors_of_a_bank_are_read_by_name(bank):
    for name, row in (("", 0), ("#baseline", 0), ("#a", 1)):
        prior = read_label_prior(f"{bank}{name}")
        np.testing.assert_array_equal(prior, PRIORS[row])
    assert read_label_prior(f"{bank}#b") is None
    assert read_head(f"{bank}#a").labels == LABELS
    with pytest.raises(ValueError, match="'a', 'b'.*Received: 'c'"):
        read_label_prior(f"{bank}#c")
    priors = read_label_priors(str(bank))
    again = stack_priors(priors)
    np.testing.assert_array_equal(again, np.load(bank / PRIORS_FILE))


def test_priors_of_other_labels_are_not_stacked():
    assert stack_priors([None, None]) is None
    with pytest.raises(ValueError, match="Received: 2 and 3 outputs"):
        stack_priors([np.full(3, 1 / 3), None, np.full(2, 1 / 2)])


@pytest.mark.parametrize(
    "values, message",
    [
        (np.array([0.5, 0.6, 0.1], np.float32), "of sum 1.2"),
        (np.array([1.5, -0.5, 0], np.float32), "at least 0"),
        (np.array([1, np.nan, 0], np.float32), "of sum nan"),
        (np.array([np.inf, 0, 0], np.float32), "of sum inf"),
        (np.array([0.5, 0.5]), "float64"),
        (np.ones((1, 1), np.float32), r"\(1, 1\)"),
        (np.float32(1), "plain array|\\(\\)"),
        (np.array([{}, None]), "plain array"),  # a pickle
    ],
    ids=str,
)
def test_what_is_no_distribution_is_refused(module, bank, values, message):
    np.save(module / PRIOR_FILE, values, allow_pickle=True)
    tell(module, kind="baseline")
    with pytest.raises(ValueError, match=message) as caught:
        read_label_prior(str(module))
    assert "\n" not in str(caught.value)


def test_file_that_claims_to_be_larger_than_it_is_is_refused(module):
    path = module / PRIOR_FILE
    huge = path.read_bytes().replace(b"'shape': (3,), ", b"'shape': (9e9,),")
    path.write_bytes(huge)
    with pytest.raises(ValueError, match="whole .npy file"):
        read_label_prior(str(module))
    path.write_bytes(huge.replace(b"(9e9,),", b"(99999)"))
    with pytest.raises(ValueError, match="whole .npy file"):
        read_label_prior(str(module))


@pytest.mark.parametrize("rows", [2, 4])
def test_bank_has_a_prior_for_each_expert(bank, rows):
    np.save(bank / PRIORS_FILE, np.full((rows, 3), 1 / 3, np.float32))
    with pytest.raises(ValueError, match=f"3 rows. Received: shape .{rows}, 3"):
        read_label_prior(f"{bank}#a")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kernel": np.ones((3, 3), np.float32)}, r"\(3, 3\).*4 channels"),
        ({"bias": np.ones(2, np.float32)}, r"\(2,\)"),
        ({"labels": np.array(["n1"])}, r"\(1,\)"),
        ({"labels": np.arange(3)}, "labels"),
        ({"kernel": np.ones((4, 3))}, "float64"),
        ({"bias": np.full(3, np.nan, np.float32)}, "finite"),
        ({"labels": np.array([{}] * 3)}, "not compressed"),  # a pickle
        ({"bias": None}, "arrays kernel, bias and labels"),
    ],
    ids=str,
)
def test_head_of_another_format_is_refused(module, changes, message):
    with np.load(module / HEAD_FILE) as archive:
        arrays = {**archive, **changes}
    kept = {key: value for key, value in arrays.items() if value is not None}
    np.savez(module / HEAD_FILE, **kept)
    with pytest.raises(ValueError, match=message) as caught:
        read_head(str(module))
    assert "\n" not in str(caught.value)


def test_head_that_is_no_plain_archive_is_refused(module):
    path = module / HEAD_FILE
    with np.load(path) as archive:
        arrays = dict(archive)
    zeros = np.zeros((4, 10_000), np.float32)
    np.savez_compressed(path, **{**arrays, "kernel": zeros})
    with pytest.raises(ValueError, match=r"not compressed.*\(compressed\)"):
        read_head(str(module))
    np.save(path.with_suffix(".npy"), zeros)
    for content in (b"", b"PK", path.with_suffix(".npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="must be an .npz file"):
            read_head(str(module))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kernel.npy", b"not one")
    with pytest.raises(ValueError, match="must be an .npz file"):
        read_head(str(module))


def test_loss_is_one_of_two(module):
    for loss in ("hinge", None):
        tell(module, loss=loss)
        with pytest.raises(ValueError, match=f"Received: {loss!r}"):
            read_head(str(module))
    tell(module, loss=7)
    with pytest.raises(ValueError, match="valid `loss`. Received: 7"):
        read_head(str(module))


def test_file_that_is_told_of_must_be_there(bank):
    for file, read in (
        (HEAD_FILE, read_head),
        (PRIORS_FILE, read_label_prior),
    ):
        (bank / file).unlink()
        with pytest.raises(ValueError, match=f"without {file}"):
            read(str(bank))
