"""Adding modules to a collection, with their archives and cards."""

import dataclasses
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

from keras_experts import files
from keras_experts.exporting import archives
from keras_experts.exporting import cards
from keras_experts.exporting.bank_module import write_bank
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import fingerprint
from keras_experts.saved_models import handles
from keras_experts.saved_models.writing import write_keras_module

# Of tfhub.dev (tools/validator.py of tensorflow/tfhub.dev).
PUBLISHER_PATTERN = re.compile(r"[a-z\d-]+")
NAME_PATTERN = re.compile(r"[\w.-]+(/[\w.-]+)*")


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
        for argument, value, pattern in (
            ("publisher", self.publisher, PUBLISHER_PATTERN),
            ("name", self.name, NAME_PATTERN),
        ):
            if not pattern.fullmatch(value):
                raise ValueError(
                    f"`{argument}` must match {pattern.pattern}. "
                    f"Received: {value!r}."
                )
        if self.license not in cards.LICENSES:
            raise ValueError(
                f"`license` must be one of {', '.join(cards.LICENSES)}. "
                f"Received: {self.license!r}."
            )


class CollectionWriter:
    """Adds modules to a collection; a version that is there stays.

    A module that differs from all versions of its name becomes the next one.

    Args:
        output: folder of the collection.
        publication: Publication.
    """

    def __init__(self, output: Path, publication: Publication):
        self._output = output
        self._publication = publication
        known = output / handles.COLLECTION_FILE
        rows = files.read_json(known)["modules"] if known.exists() else []
        self._rows = {row["handle"]: row for row in rows}

    def add_network(
        self, name: str, network: BitResNet, row: dict, source: Path
    ) -> None:
        """Adds a network without a bank.

        Args:
            name: str. Last part of its handle.
            network: `BitResNet`.
            row: dict. What is published of its training.
            source: folder that may hold samples of its images.
        """
        samples = source / run_folder.SAMPLES_FILE
        published = self._publication.samples and samples.exists()
        model = heads.image_features(network)
        metadata = {
            **row,
            "name": name,
            "num_features": model.output_shape[-1],
            "parameters": network.count_params(),
            "backbone": network.get_config(),
            "weights": fingerprint(network),
            "fine_tunable": True,
        }

        def write(folder: Path, metadata: dict) -> None:
            extras = [samples] if published else []
            write_keras_module(folder, model, "features", metadata, extras)

        self._add(metadata, write)

    def add_bank(
        self,
        name: str,
        bank: BitResNet,
        row: dict,
        experts: list[dict],
        storage: str,
    ) -> str:
        """Adds a bank, and gives its handle.

        Args:
            name: str. Last part of its handle.
            bank: `BitResNet` with a bank.
            row: dict. What is published of its baseline's training.
            experts: of each expert, in the bank's order, what is published.
            storage: str. As in `write_bank`.
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
        write = functools.partial(_write_bank, bank, names, storage)
        return self._add(metadata, write)

    def finish(self) -> list[dict]:
        """Writes the collection's pages and `collection.json`, the last.

        Returns:
            list of dict. The rows of `collection.json`.
        """
        of = self._publication
        rows = list(self._rows.values())
        docs = self._output / cards.DOCS_FOLDER / of.publisher
        own = [r for r in rows if r["handle"].startswith(_prefix(of))]
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

    def _add(self, metadata: dict, write: Callable[[Path, dict], None]) -> str:
        of = self._publication
        parts = f"{_prefix(of)}{metadata['name']}"
        version = self._version(parts, metadata)
        handle = f"{parts}/{version}"
        metadata = {**metadata, "handle": handle}
        folder = self._output / handle
        if not handles.is_saved_model(folder):
            write(folder, metadata)
        archive = f"{handle}.tar.gz"
        row = self._rows.get(handle, {})
        if "sha256" not in row or not (self._output / archive).exists():
            archives.pack(folder, self._output / archive)
            published = {
                key: value
                for key, value in metadata.items()
                if key not in ("backbone", "weights")
            }
            row = {
                "experts": [],
                **published,
                "depth": metadata["backbone"]["depth"],
                "path": handle,
                "archive": archive,
                "num_bytes": (self._output / archive).stat().st_size,
                "sha256": files.checksum(self._output / archive),
            }
        row["publication"] = dataclasses.asdict(of)
        path = cards.card_path(of.publisher, parts.partition("/")[2], version)
        text = cards.card(row, of.license, of.base_url)
        files.write_text(self._output / path, text)
        self._rows[handle] = row
        return handle

    def _version(self, parts: str, metadata: dict) -> int:
        """Gives the version that is this module, or the next one."""
        found = {
            int(folder.name): handles.read_metadata(str(folder))
            for folder in (self._output / parts).glob("*")
            if folder.name.isdigit() and handles.is_saved_model(folder)
        }
        # As it comes back from a file: tuples are lists there.
        metadata = json.loads(json.dumps(metadata))
        for version, theirs in found.items():
            if {**theirs, "handle": None} == {**metadata, "handle": None}:
                return version
        return max(found, default=0) + 1


def _prefix(publication: Publication) -> str:
    return f"{publication.publisher}/{publication.name}/"


def _write_bank(
    bank: BitResNet, names: list[str], storage: str, folder: Path, metadata
) -> None:
    write_bank(folder, bank, names, metadata, storage)
