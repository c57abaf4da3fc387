"""A training run as a collection of modules."""

import dataclasses
import json
import re
from pathlib import Path

from keras_experts import files
from keras_experts import saved_models
from keras_experts import templates
from keras_experts.console import progress
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import fingerprint

VERSION = "1"
# Of tfhub.dev (tools/validator.py of tensorflow/tfhub.dev).
PUBLISHER_PATTERN = re.compile(r"[a-z\d-]+")
NAME_PATTERN = re.compile(r"[\w.-]+(/[\w.-]+)*")


@dataclasses.dataclass(frozen=True)
class Source:
    """One module to export.

    Attributes:
        backbone: `BitResNet` without a bank.
        metadata: dict. What training recorded about it.
        module_name: str. Last part of its handle.
    """

    backbone: BitResNet
    metadata: dict
    module_name: str


def check_names(publisher: str, name: str) -> None:
    """Raises unless both parts of the handles are as tfhub.dev has them.

    Raises:
        ValueError: if one is not.
    """
    for argument, value, pattern in (
        ("publisher", publisher, PUBLISHER_PATTERN),
        ("name", name, NAME_PATTERN),
    ):
        if not pattern.fullmatch(value):
            raise ValueError(
                f"`{argument}` must match {pattern.pattern}. "
                f"Received: {value!r}."
            )


def module_name(kind: str, name: str) -> str:
    """Gives the last part of a handle; full experts are told from adapters."""
    return f"{name}-full" if kind == "full" else name


def export_run(
    workdir: str | Path, output: str | Path, publisher: str, name: str
) -> list[dict]:
    """Exports a run's baseline and experts; what is there already stays.

    Args:
        workdir: folder of the run.
        output: folder of the collection; made if it is not there.
        publisher: str. First part of the handles.
        name: str. Middle part of the handles.

    Returns:
        list of dict. The rows of `collection.json`: `handle`, `path`, `name`
        and `kind`.

    Raises:
        FileNotFoundError: if the run has no baseline.
        ValueError: if a part of the handles is not as tfhub.dev has them, or
            the collection has other modules under the same handles.
    """
    check_names(publisher, name)
    output = Path(output)
    classifier, metadata = run_folder.load_baseline(workdir)
    baseline = heads.backbone_of(classifier)
    experts = run_folder.list_experts(workdir)
    rows = []
    with progress("exporting", 1 + len(experts)) as bar:
        source = Source(baseline, metadata, saved_models.BASELINE)
        rows.append(_export(source, output, publisher, name))
        bar.advance(1)
        for kind, expert in experts:
            loaded = run_folder.load_expert(workdir, kind, expert, baseline)
            source = Source(*loaded, module_name(kind, expert))
            rows.append(_export(source, output, publisher, name))
            bar.advance(1)
    known = output / saved_models.COLLECTION_FILE
    others = files.read_json(known)["modules"] if known.exists() else []
    handles = {row["handle"] for row in rows}
    rows = [row for row in others if row["handle"] not in handles] + rows
    files.write_json(known, {"modules": rows})
    return rows


def _export(source: Source, output: Path, publisher: str, name: str) -> dict:
    handle = f"{publisher}/{name}/{source.module_name}/{VERSION}"
    model = heads.image_features(source.backbone)
    kind = source.metadata["kind"]
    metadata = {
        "name": source.module_name,
        "kind": kind,
        "handle": handle,
        "image_size": source.metadata["image_size"],
        "num_features": model.output_shape[-1],
        "parameters": source.backbone.count_params(),
        "backbone": source.backbone.get_config(),
        "weights": fingerprint(source.backbone),
        "training": source.metadata,
    }
    directory = output / handle
    if saved_models.is_saved_model(directory):
        theirs = saved_models.read_metadata(str(directory))
        if theirs != json.loads(json.dumps(metadata)):
            raise ValueError(
                "A module that is published is never overwritten; export to "
                f"another folder. Received: {directory}, which is not the "
                "one of this run."
            )
    else:
        # The card first: a module that is there has its card.
        card = _card(metadata)
        files.write_text(directory.with_suffix(".md"), card)
        saved_models.write_keras_module(directory, model, "features", metadata)
    return {
        "handle": handle,
        "path": handle,
        "name": source.module_name,
        "kind": kind,
    }


def _card(metadata: dict) -> str:
    training = metadata["training"]
    if metadata["kind"] == saved_models.BASELINE:
        description = "BiT network trained on all of the upstream images."
        overview = (
            "The baseline of its collection: trained on all upstream images, "
            f"{len(training['classes'])} classes."
        )
    else:
        domain = training["name"].replace("_", " ")
        # Random images and clusters have no node.
        node = f" ({training['synset']})" if training["synset"] else ""
        part = "subtree" if node else "part of the data"
        description = f'BiT network specialised on the "{domain}" {part}.'
        how = {
            "adapter": "residual adapters on the frozen baseline",
            "full": "the whole baseline, fine-tuned",
        }[metadata["kind"]]
        overview = (
            f"An expert for {domain}{node}: {how}, trained "
            f"for {training['num_steps']:,} steps of "
            f"{training['batch_size']} images."
        )
    return templates.render(
        "module.md.j2",
        handle=metadata["handle"],
        description=description,
        overview=overview,
        dataset=training["dataset"],
        depth=metadata["backbone"]["depth"],
        kind=metadata["kind"],
        parameters=metadata["parameters"],
        num_images=training["num_images"],
        top1=training.get("slice_top1", training.get("top1")),
        top1_baseline=training.get("slice_top1_baseline"),
        image_size=metadata["image_size"],
        num_features=metadata["num_features"],
    )
