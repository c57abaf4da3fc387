"""What modules of ours carry of the upstream's labels: a head, and priors.

They lie in `assets.extra`, so that selection never wants the training run:

head.npz          kernel, bias and labels, of baselines and banks
label_prior.npy   (outputs,), of baselines and experts
label_priors.npy  (1 + experts, outputs), of banks; the baseline's comes first

A head acts on features, which are cached: no forward pass is wanted for what
it predicts. Adapters share the baseline's, which was frozen. Full experts'
heads are not published: for ImageNet-21k and an R50 each has 179 MB.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts.saved_models import handles
from keras_experts.saved_models import references

HEAD_FILE = handles.METADATA_FILE.with_name("head.npz")
PRIOR_FILE = handles.METADATA_FILE.with_name("label_prior.npy")
PRIORS_FILE = handles.METADATA_FILE.with_name("label_priors.npy")
LOSSES = ("softmax", "sigmoid")
SUM_TOLERANCE = 1e-3  # of a prior, from 1
# Share of the upstream's labels in an expert's prior (none is zero).
PRIOR_OF_ALL = 0.01


@dataclasses.dataclass(frozen=True)
class Head:
    """The baseline's last layer, from features to upstream labels.

    Attributes:
        kernel: float32 array `(channels, outputs)`.
        bias: float32 array `(outputs,)`.
        labels: list of str. The upstream label of each output.
        loss: str. "softmax" where labels exclude one another, or "sigmoid".
    """

    kernel: np.ndarray
    bias: np.ndarray
    labels: list[str]
    loss: str

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Predicts the upstream labels of images.

        Args:
            features: float array `(images, channels)`, of the baseline, or of
                adapters on it.

        Returns:
            Float64 array `(images, outputs)`, values in [0, 1]; with softmax,
            an image's sum is 1.

        Raises:
            ValueError: if the features have another number of channels.
        """
        features = np.asarray(features, np.float32)
        if features.ndim != 2 or features.shape[1] != len(self.kernel):
            raise ValueError(
                "`features` must have shape (images, channels), "
                f"{len(self.kernel)} channels. Received: {features.shape}."
            )
        logits = (features @ self.kernel + self.bias).astype(np.float64)
        if self.loss == "sigmoid":
            return np.exp(-np.logaddexp(0, -logits))
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits, out=logits)
        odds /= odds.sum(axis=1, keepdims=True)
        return odds


def save_head(head: Head, path: Path) -> None:
    """Saves a head as an .npz file of plain arrays."""
    labels = np.array(head.labels, np.str_)
    np.savez(path, kernel=head.kernel, bias=head.bias, labels=labels)


def stack_priors(priors: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Makes the rows of a bank's priors; those that are not known are NaN.

    Args:
        priors: of the baseline and of each expert, `(outputs,)` or None.

    Returns:
        Float32 array `(1 + experts, outputs)`, or None if none is known.

    Raises:
        ValueError: if they are of other upstream labels than one another.
    """
    numbers = sorted({len(prior) for prior in priors if prior is not None})
    if not numbers:
        return None
    if len(numbers) > 1:
        raise ValueError(
            "Label priors of a bank must have as many outputs each. "
            f"Received: {' and '.join(map(str, numbers))} outputs."
        )
    unknown = np.full(numbers[0], np.nan)
    rows = [unknown if prior is None else prior for prior in priors]
    return np.stack(rows).astype(np.float32)


def read_head(handle: str) -> Head | None:
    """Reads the head of a baseline or a bank; None where there is none.

    Args:
        handle: str. As in `resolve`; all parts of a bank share its head.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if its head is not of the format, or not finite.
    """
    metadata = handles.read_metadata(handle)
    path = _find(handle, metadata, HEAD_FILE)
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            # What is compressed may unpack to any size.
            sizes = [member.file_size for member in archive.zip.infolist()]
            if sum(sizes) > path.stat().st_size:
                raise ValueError("compressed")
            kernel, bias = archive["kernel"], archive["bias"]
            labels = archive["labels"]
    except Exception as error:
        raise ValueError(
            "A module's head must be an .npz file, not compressed, of the "
            f"arrays kernel, bias and labels. Received: {path} ({error})."
        ) from error
    channels = metadata.get("num_features")
    _check_head(kernel, bias, labels, channels, path)
    if metadata.get("loss") not in LOSSES:
        raise ValueError(
            f"The `loss` of a module with a head must be one of {LOSSES}. "
            f"Received: {metadata.get('loss')!r} of {handle}."
        )
    return Head(kernel, bias, labels.tolist(), metadata["loss"])


def read_label_prior(handle: str) -> np.ndarray | None:
    """Reads how often each output was one in what a module was trained on.

    Args:
        handle: str. Path or URL of a baseline or an expert, or `BANK#name`;
            of a bank without a name it is the baseline's.

    Returns:
        Float64 array `(outputs,)` of sum 1, or None where it is not known.
        An expert's holds a hundredth of the upstream's.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if it is no distribution, or the bank has no such expert.
    """
    metadata = handles.read_metadata(handle)
    if metadata.get("kind") != handles.BANK:
        path = _find(handle, metadata, PRIOR_FILE)
        return None if path is None else load_label_prior(path)
    _, part = references.split(handle)
    names = [handles.BASELINE, *(row["name"] for row in metadata["experts"])]
    if part is not None and part not in names:
        raise ValueError(
            f"An expert of the bank must be one of {names}. "
            f"Received: {part!r} of {handle}."
        )
    priors = _open_priors(handle, metadata)
    if priors is None:
        return None
    return _row(priors, names.index(part or handles.BASELINE), handle)


def read_label_priors(handle: str) -> list[np.ndarray | None]:
    """Reads the priors of a bank's baseline and of each of its experts.

    Args:
        handle: str. Path or URL of a bank.

    Returns:
        list, each as `read_label_prior` gives it.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if one of them is no distribution.
    """
    metadata = handles.read_metadata(handle)
    priors = _open_priors(handle, metadata)
    if priors is None:
        return [None] * (1 + len(metadata["experts"]))
    return [_row(priors, place, handle) for place in range(len(priors))]


def load_label_prior(path: Path) -> np.ndarray:
    """Loads the prior in a file, as `read_label_prior` gives it.

    Raises:
        ValueError: if it is no distribution.
    """
    return _distribution(_open(path), path)


def digest_name(file: Path) -> str:
    """Names the field of the metadata that tells of a file, its SHA-256."""
    return f"{file.stem}_sha256"


def _find(handle: str, metadata: dict, file: Path) -> Path | None:
    if digest_name(file) not in metadata:
        return None
    path = handles.resolve(handle) / file
    if not path.is_file():
        raise ValueError(
            "A module must have the files that it tells of. "
            f"Received: {handle} without {file}."
        )
    return path


def _check_head(kernel, bias, labels, channels: int | None, path: Path) -> None:
    is_valid = kernel.ndim == 2 and kernel.size > 0
    is_valid = is_valid and channels in (None, len(kernel))
    is_valid = is_valid and bias.shape == labels.shape == kernel.shape[1:]
    if not is_valid or labels.dtype.kind != "U":
        raise ValueError(
            "A module's head must have a kernel (channels, outputs), a bias "
            f"and labels (outputs,). Received: {kernel.shape}, {bias.shape} "
            f"and {labels.shape} in {path}, {channels} channels."
        )
    for values in (kernel, bias):
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError(
                "A module's head must be finite, of float32. "
                f"Received: {values.dtype} in {path}."
            )


def _open(path: Path) -> np.ndarray:
    try:
        # A file is as large as its header says, and rows are read one by one.
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:
        raise ValueError(
            "A label prior must be a whole .npy file of a plain array. "
            f"Received: {path} ({error})."
        ) from error


def _open_priors(handle: str, metadata: dict) -> np.ndarray | None:
    path = _find(handle, metadata, PRIORS_FILE)
    if path is None:
        return None
    priors = _open(path)
    rows = 1 + len(metadata["experts"])
    if priors.ndim != 2 or len(priors) != rows:
        raise ValueError(
            "A bank must have a label prior for its baseline and for each "
            f"expert, {rows} rows. Received: shape {priors.shape} in {path}."
        )
    return priors


def _row(priors: np.ndarray, place: int, handle: str) -> np.ndarray | None:
    row = priors[place]
    is_unknown = row.dtype == np.float32 and np.isnan(row).all()
    return None if is_unknown else _distribution(row, handle)


def _distribution(values: np.ndarray, source: str | Path) -> np.ndarray:
    is_valid = values.ndim == 1 and values.dtype == np.float32
    prior = np.array(values, np.float64) if is_valid else np.zeros(0)
    # A NaN is in no range.
    if not (is_valid and (prior >= 0).all()) or not (
        abs(prior.sum() - 1) <= SUM_TOLERANCE
    ):
        raise ValueError(
            "A label prior must be float32 (outputs,), at least 0 and of sum "
            f"1. Received: {values.dtype} {values.shape} of sum "
            f"{prior.sum():.6g} in {source}."
        )
    return prior


def label_prior(own: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """Gives how often each output is one in an expert's slice.

    A hundredth of it is the upstream's, so that no probability is zero which
    is none there; all of it, where no image of the slice has a label. For
    label matching (paper, section 5).

    Args:
        own: float array `(outputs,)`. The outputs' frequencies in the slice.
        everything: float array `(outputs,)`. Those in the upstream.

    Returns:
        Float32 array `(outputs,)` of sum 1.
    """
    prior = everything / everything.sum()
    if own.any():
        share = own / own.sum()
        prior = (1 - PRIOR_OF_ALL) * share + PRIOR_OF_ALL * prior
    return prior.astype(np.float32)
