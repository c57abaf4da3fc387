"""Adding experts to a published bank, and removing them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts.exporting.bank_module import round_to_storage
from keras_experts.exporting.collection_writer import CollectionWriter
from keras_experts.exporting.collection_writer import Publication
from keras_experts.models import experts as expert_models
from keras_experts.models import rebuilding
from keras_experts.models.backbone import BitResNet
from keras_experts.saved_models import handles
from keras_experts.saved_models import references
from keras_experts.saved_models.loading import read_weights
from keras_experts.saved_models.upstream_labels import read_head
from keras_experts.saved_models.upstream_labels import read_label_prior
from keras_experts.saved_models.upstream_labels import read_label_priors


@dataclasses.dataclass(frozen=True)
class PublishedBank:
    """A bank of a collection, read to be edited.

    Attributes:
        collection: Path. The collection's folder.
        publication: Publication. How the bank is published.
        path: str. Of its SavedModel.
        metadata: dict. What it tells of itself.
        network: `BitResNet` with a bank.
    """

    collection: Path
    publication: Publication
    path: str
    metadata: dict
    network: BitResNet


def add_expert(collection: str | Path, bank: str, module: str) -> str:
    """Adds an expert to a bank; the result is the bank's next version.

    Neither training nor its data is wanted.

    Args:
        collection: folder that `export` wrote.
        bank: str. Handle of a bank in it, such as "acme/experts/bank/1".
        module: str. Path or URL of an adapter expert on the same baseline, or
            `BANK#name`.

    Returns:
        str. The new handle.

    Raises:
        FileNotFoundError: if a module is not there.
        ValueError: if the expert stands on another backbone, is no adapter,
            tells nothing of itself, or its name is taken.
    """
    old = _open(collection, bank)
    rows = old.metadata["experts"]
    expert, theirs = _open_expert(module)
    if theirs.get("name") in [row["name"] for row in rows]:
        raise ValueError(
            "An expert must have a name that the bank has not. "
            f"Received: {theirs['name']!r}."
        )
    larger = _with_experts(old.network, range(len(rows)), len(rows) + 1)
    # Its backbone is the bank's only to the precision that the bank is in.
    round_to_storage(expert, old.metadata.get("storage"))
    expert_models.insert_expert(larger, len(rows), expert)
    # What the bank tells of its other experts.
    row = {key: theirs[key] for key in rows[0] if key in theirs}
    priors = [*read_label_priors(old.path), read_label_prior(module)]
    return _write(old, larger, [*rows, row], priors)


def remove_expert(collection: str | Path, bank: str, expert: str) -> str:
    """Removes an expert from a bank; the result is the bank's next version.

    Args:
        collection: folder that `export` wrote.
        bank: str. Handle of a bank in it.
        expert: str. Its name.

    Returns:
        str. The new handle.

    Raises:
        FileNotFoundError: if the bank is not there.
        ValueError: if it has no such expert, or no other.
    """
    old = _open(collection, bank)
    rows = old.metadata["experts"]
    names = [row["name"] for row in rows]
    if expert not in names or len(names) == 1:
        raise ValueError(
            f"The expert to remove must be one of several: {names}. "
            f"Received: {expert!r}."
        )
    kept = [place for place, name in enumerate(names) if name != expert]
    smaller = _with_experts(old.network, kept, len(kept))
    baseline, *priors = read_label_priors(old.path)
    return _write(
        old,
        smaller,
        [rows[place] for place in kept],
        [baseline, *(priors[place] for place in kept)],
    )


def _open(collection: str | Path, bank: str) -> PublishedBank:
    known = handles.read_rows(collection)
    found = [row for row in known if row["handle"] == bank]
    if not found or found[0]["kind"] != handles.BANK:
        banks = [r["handle"] for r in known if r["kind"] == handles.BANK]
        raise FileNotFoundError(
            f"A bank of {collection} must be one of {banks}. "
            f"Received: {bank!r}."
        )
    path = str(Path(collection) / found[0]["path"])
    metadata = handles.read_metadata(path)
    handles.check_module(metadata, path)
    network = rebuilding.rebuild(metadata, read_weights(path), path)
    try:
        publication = Publication(**found[0]["publication"])
    except TypeError as error:
        raise ValueError(
            "A row's `publication` must have the fields of a Publication. "
            f"Received: {found[0]['publication']} of {bank} ({error})."
        ) from error
    return PublishedBank(Path(collection), publication, path, metadata, network)


def _open_expert(module: str) -> tuple[BitResNet, dict]:
    """Gives an expert with adapters, and what it tells of itself."""
    metadata = handles.read_metadata(module)
    if metadata.get("kind") not in (handles.ADAPTER, handles.BANK):
        raise ValueError(
            "An expert of a bank must be a module of adapters. "
            f"Received: {module}, of kind {metadata.get('kind')}."
        )
    expert = rebuilding.rebuild(metadata, read_weights(module), module)
    if metadata["kind"] == handles.BANK:
        _, name = references.split(module)
        expert = rebuilding.cut_out(expert, metadata, name, module)
        rows = {row["name"]: row for row in metadata["experts"]}
        metadata = rows.get(name, {})
    else:
        # Its own name, of which that in its handle was made.
        metadata = {**metadata, "name": metadata.get("domain")}
    if expert.adapters != "single":
        raise ValueError(
            f"An expert must have adapters. Received: {module} with none."
        )
    return expert, metadata


def _with_experts(
    bank: BitResNet, places: Sequence[int], num_experts: int
) -> BitResNet:
    """Copies a bank with some of its experts, and room for more."""
    copy = expert_models.add_adapters(
        bank, "bank", num_experts, bank.bottleneck_ratio
    )
    layers = zip(
        expert_models.adapter_layers(bank),
        expert_models.adapter_layers(copy),
        strict=True,
    )
    for ours, theirs in layers:
        for target, place in enumerate(places):
            theirs.set_expert(target, ours.get_expert(place))
    return copy


def _write(
    old: PublishedBank,
    network: BitResNet,
    rows: list[dict],
    priors: list[np.ndarray | None],
) -> str:
    told = {k: v for k, v in old.metadata.items() if k != "handle"}
    with CollectionWriter(old.collection, old.publication) as writer:
        handle = writer.add_bank(
            told["name"],
            network,
            told,
            rows,
            told["storage"],
            read_head(old.path),
            priors,
        )
        writer.finish()
    return handle
