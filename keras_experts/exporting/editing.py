"""Adding experts to a published bank, and removing them."""

from collections.abc import Sequence
from pathlib import Path

from keras_experts.exporting.bank_module import round_to_storage
from keras_experts.exporting.collection_writer import CollectionWriter
from keras_experts.exporting.collection_writer import Publication
from keras_experts.models import experts as expert_models
from keras_experts.models import rebuilding
from keras_experts.models.backbone import BitResNet
from keras_experts.saved_models import handles
from keras_experts.saved_models.loading import read_weights


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
    publication, metadata, network = _open(collection, bank)
    rows = metadata["experts"]
    expert, theirs = _open_expert(module)
    if theirs.get("name") in [row["name"] for row in rows]:
        raise ValueError(
            "An expert must have a name that the bank has not. "
            f"Received: {theirs['name']!r}."
        )
    larger = _with_experts(network, range(len(rows)), len(rows) + 1)
    # Its backbone is the bank's only to the precision that the bank is in.
    round_to_storage(expert, metadata.get("storage"))
    expert_models.insert_expert(larger, len(rows), expert)
    # What the bank tells of its other experts.
    row = {key: theirs[key] for key in rows[0] if key in theirs}
    return _write(collection, publication, metadata, larger, [*rows, row])


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
    publication, metadata, network = _open(collection, bank)
    rows = metadata["experts"]
    names = [row["name"] for row in rows]
    if expert not in names or len(names) == 1:
        raise ValueError(
            f"The expert to remove must be one of several: {names}. "
            f"Received: {expert!r}."
        )
    kept = [place for place, name in enumerate(names) if name != expert]
    smaller = _with_experts(network, kept, len(kept))
    kept_rows = [rows[place] for place in kept]
    return _write(collection, publication, metadata, smaller, kept_rows)


def _open(
    collection: str | Path, bank: str
) -> tuple[Publication, dict, BitResNet]:
    """Gives how a bank is published, what it tells of itself, and itself."""
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
        return Publication(**found[0]["publication"]), metadata, network
    except TypeError as error:
        raise ValueError(
            "A row's `publication` must have the fields of a Publication. "
            f"Received: {found[0]['publication']} of {bank} ({error})."
        ) from error


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
        _, name = handles.split(module)
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
    collection: str | Path,
    publication: Publication,
    metadata: dict,
    bank: BitResNet,
    rows: list[dict],
) -> str:
    metadata = {key: metadata[key] for key in metadata if key != "handle"}
    with CollectionWriter(Path(collection), publication) as writer:
        handle = writer.add_bank(
            metadata["name"], bank, metadata, rows, metadata["storage"]
        )
        writer.finish()
    return handle
