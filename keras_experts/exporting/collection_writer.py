"""Adding modules to a collection, with their archives and cards."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_experts import files
from keras_experts.exporting import archives
from keras_experts.exporting import cards
from keras_experts.exporting.bank_module import write_bank
from keras_experts.exporting.extras import Extras
from keras_experts.locking import locked
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import fingerprint
from keras_experts.models.text_encoder import TextEncoder
from keras_experts.saved_models import handles
from keras_experts.saved_models import naming
from keras_experts.saved_models.preprocessor import describe
from keras_experts.saved_models.preprocessor import read_vocabulary
from keras_experts.saved_models.preprocessor import write_preprocessor
from keras_experts.saved_models.upstream_labels import Head
from keras_experts.saved_models.upstream_labels import stack_priors
from keras_experts.saved_models.writing import write_encoder
from keras_experts.saved_models.writing import write_keras_module

VERSION_PATTERN = re.compile(r"(\d+)(\.tar\.gz)?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Publication:
    """How a collection is published.

    Attributes:
        publisher: str. First part of the handles.
        name: str. Middle part of the handles.
        license: str. One of `cards.LICENSES`.
        base_url: str. Where the collection will be found, or "".
        samples: bool. Whether to publish some upstream images with each
            module.
    """

    publisher: str
    name: str = "experts"
    license: str = "custom"
    base_url: str = ""
    samples: bool = False

    def __post_init__(self):
        naming.check_name("publisher", self.publisher, naming.PUBLISHER_PATTERN)
        naming.check_name("name", self.name, naming.NAME_PATTERN)
        if self.license not in cards.LICENSES:
            raise ValueError(
                f"`license` must be one of {', '.join(cards.LICENSES)}. "
                f"Received: {self.license!r}."
            )


class CollectionWriter:
    """Adds modules to a collection; a version that is there stays.

    A module that differs from the latest of its name becomes the next version.
    From its making to the end of its `with` block it is the only writer.

    Args:
        output: folder of the collection; made if it is not there.
        publication: Publication.

    Raises:
        BlockingIOError: if the collection has another writer.
        ValueError: if `collection.json` is not one of ours.
    """

    def __init__(self, output: Path, publication: Publication):
        self._output = output
        self._publication = publication
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(locked(output))
        try:
            known = (output / handles.COLLECTION_FILE).exists()
            rows = handles.read_rows(output) if known else []
        except Exception:
            self._lock.close()
            raise
        self._rows = {row["handle"]: row for row in rows}

    def __enter__(self) -> "CollectionWriter":
        return self

    def __exit__(self, *_) -> None:
        self._lock.close()

    def add_network(
        self,
        name: str,
        network: BitResNet | TextEncoder,
        row: dict,
        source: Path,
        head: Head | None = None,
        prior: np.ndarray | None = None,
    ) -> None:
        """Adds a network without a bank.

        Args:
            name: str. Last part of its handle.
            network: `BitResNet`, or `TextEncoder`, whose `row` names its
                `preprocessor`.
            row: dict. What is published of its training.
            source: folder that may hold samples of its images.
            head: Head. Of a baseline, what its features were trained with.
            prior: float array `(outputs,)`. The label prior of what it was
                trained on, or None.

        Raises:
            ValueError: if the name is no part of a handle, or `row` lacks
                something.
        """
        samples = source / run_folder.SAMPLES_FILE
        published = self._publication.samples and samples.exists()
        model = heads.features_of(network)
        metadata = {
            **row,
            "name": name,
            "num_features": model.output_shape[-1],
            "parameters": network.count_params(),
            "backbone": network.get_config(),
            "weights": fingerprint(network),
            "fine_tunable": True,
        }
        extras = Extras(samples if published else None, head, prior)
        write = functools.partial(
            write_keras_module, model=model, output_name="features"
        )
        if isinstance(network, TextEncoder):
            write = functools.partial(write_encoder, encoder=network)
        self._add(metadata, extras, write)

    def add_bank(
        self,
        name: str,
        bank: BitResNet,
        row: dict,
        experts: list[dict],
        storage: str,
        head: Head | None = None,
        priors: Sequence[np.ndarray | None] = (),
    ) -> str:
        """Adds a bank, and gives its handle.

        Args:
            name: str. Last part of its handle.
            bank: `BitResNet` with a bank.
            row: dict. What is published of its baseline's training.
            experts: of each expert, in the bank's order, what is published.
            storage: str. As in `write_bank`.
            head: Head. The baseline's, or None.
            priors: label priors of the baseline and of each expert, as in
                `stack_priors`.

        Raises:
            ValueError: if an expert or its name is none that can be published.
        """
        metadata = {
            **row,
            "kind": handles.BANK,
            "name": name,
            "num_features": bank.output["pre_logits"].shape[-1],
            "parameters": bank.count_params(),
            "backbone": bank.get_config(),
            "weights": fingerprint(bank),
            "storage": storage,
            "fine_tunable": storage == "float32",
            "experts": experts,
        }
        names = [expert["name"] for expert in experts]
        extras = Extras(head=head, label_priors=stack_priors(priors))
        write = functools.partial(
            write_bank, bank=bank, names=names, storage=storage
        )
        return self._add(metadata, extras, write)

    def add_epn(self, model: keras.Model, row: dict) -> None:
        """Adds an expert prediction network.

        Args:
            model: from images in [0, 1] to logits `(batch, experts)`.
            row: dict. What is published of its training, with its `experts`.

        Raises:
            ValueError: if `row` lacks something.
        """
        probabilities = keras.layers.Activation("sigmoid", dtype="float32")
        network = keras.Model(model.input, probabilities(model.output))
        network.trainable = False  # it predicts, and is no start for a task
        metadata = {
            **row,
            "name": handles.EPN,
            "num_features": model.output_shape[-1],
            "parameters": model.count_params(),
            "depth": heads.backbone_of(model).depth,
            "weights": fingerprint(model),
            "fine_tunable": False,
        }
        write = functools.partial(
            write_keras_module, model=network, output_name="probabilities"
        )
        self._add(metadata, Extras(), write)

    def add_preprocessor(self, preprocessor: Path, row: dict) -> str:
        """Adds what tokenises the texts of all encoders; gives its handle.

        Args:
            preprocessor: folder of one of ours.
            row: dict. What is published of the baseline's training.
        """
        vocabulary = read_vocabulary(preprocessor)
        length = row["seq_length"]
        metadata = {
            **row,
            **dict(num_classes=0, num_steps=0, batch_size=0, top1=None),
            **describe(vocabulary, length),
            **dict(num_features=length, parameters=0, depth=0),
            "name": handles.PREPROCESSOR,
            "fine_tunable": False,
        }

        def write(folder, metadata, extras):
            write_preprocessor(folder, vocabulary, length, metadata)

        return self._add(metadata, Extras(), write)

    def finish(self) -> list[dict]:
        """Writes the collection's pages and `collection.json`, the last.

        Returns:
            list of dict. The rows of `collection.json`.
        """
        of = self._publication
        rows = list(self._rows.values())
        docs = self._output / cards.DOCS_FOLDER / of.publisher
        collection = (of.publisher, of.name)
        own = [r for r in rows if _collection_of(r["handle"]) == collection]
        files.write_text(
            docs / "collections" / of.name / "1.md",
            cards.collection_page(of.publisher, of.name, own, of.base_url),
        )
        files.write_text(
            docs / f"{of.publisher}.md", cards.publisher_page(of.publisher)
        )
        files.write_json(
            self._output / handles.COLLECTION_FILE, {"modules": rows}
        )
        return rows

    def _add(
        self, metadata: dict, extras: Extras, write: Callable[..., None]
    ) -> str:
        of, name = self._publication, metadata["name"]
        naming.check_name("name", name, naming.PART_PATTERN)
        handles.check_module(metadata, name)
        parts = f"{of.publisher}/{of.name}/{name}"
        with extras.written(self._output) as paths:
            metadata = extras.describe(metadata, paths)
            digest = _digest(metadata)
            version = self._version(parts, digest)
            handle = f"{parts}/{version}"
            metadata = {**metadata, "handle": handle}
            folder = self._output / handle
            if not handles.is_saved_model(folder):
                write(folder, metadata=metadata, extras=paths)
        row = self._rows.get(handle)
        if row is None or not (self._output / row["archive"]).exists():
            row = self._pack(metadata, digest)
        row["publication"] = dataclasses.asdict(of)
        path = cards.card_path(of.publisher, f"{of.name}/{name}", version)
        text = cards.card(row, of.license, of.base_url)
        files.write_text(self._output / path, text)
        self._rows[handle] = row
        return handle

    def _pack(self, metadata: dict, digest: str) -> dict:
        """Packs a module and gives its row."""
        handle = metadata["handle"]
        archive = self._output / f"{handle}.tar.gz"
        archives.pack(self._output / handle, archive)
        published = {
            key: value
            for key, value in metadata.items()
            if key not in ("backbone", "weights")
        }
        return {
            "experts": [],
            **published,
            "depth": metadata.get("backbone", metadata)["depth"],
            "path": handle,
            "archive": f"{handle}.tar.gz",
            "num_bytes": archive.stat().st_size,
            "sha256": files.checksum(archive),
            "digest": digest,
        }

    def _version(self, parts: str, digest: str) -> int:
        """Gives the latest version if it is this module, or the next one.

        A version that was deleted counts as long as its row or its archive
        does not go with it.
        """
        taken = [
            naming.split_handle(handle)[2]
            for handle in self._rows
            if handle.rpartition("/")[0] == parts
        ]
        for path in (self._output / parts).glob("*"):
            match = VERSION_PATTERN.fullmatch(path.name)
            if match is not None:
                taken.append(int(match[1]))
        latest = max(taken, default=0)
        is_latest = self._digest_of(f"{parts}/{latest}") == digest
        return latest if is_latest else latest + 1

    def _digest_of(self, handle: str) -> str | None:
        """Tells a version from others; None where nothing is known of it."""
        folder = self._output / handle
        if handles.is_saved_model(folder):
            return _digest(handles.read_metadata(str(folder)))
        return self._rows.get(handle, {}).get("digest")


def _digest(metadata: dict) -> str:
    """Gives the SHA-256 of what tells a module from others of its name."""
    content = {key: metadata[key] for key in metadata if key != "handle"}
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _collection_of(handle: str) -> tuple[str, str]:
    publisher, name, _ = naming.split_handle(handle)
    return publisher, name.rpartition("/")[0]
