"""A training run as a collection of modules, archives and cards."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from keras_experts import domains
from keras_experts.console import progress
from keras_experts.exporting.collection_writer import CollectionWriter
from keras_experts.exporting.collection_writer import Publication
from keras_experts.mediums import TEXTS
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.backbone import BitResNet
from keras_experts.random_state import callers_random_state
from keras_experts.saved_models import handles
from keras_experts.saved_models import naming

# What is told of what a network takes, of images and of texts.
OF_INPUTS = ("image_size", "medium", "seq_length", "vocabulary_sha256")


@callers_random_state()
def export_run(
    workdir: str | Path,
    output: str | Path,
    publication: Publication,
    storage: str = "float32",
) -> list[dict]:
    """Exports all that a run has trained; what is there already stays.

    That is the baseline, the experts, a bank of those that are adapters, the
    expert prediction network and the preprocessor of texts, with what
    selection needs of the upstream's labels: the baseline's head, and label
    priors where the run has them.

    Args:
        workdir: folder of the run.
        output: folder of the collection; made if it is not there.
        publication: Publication.
        storage: str. As in `write_bank`, for the module of all adapters.

    Returns:
        list of dict. The rows of `collection.json`.

    Raises:
        BlockingIOError: if another process writes the collection.
        FileNotFoundError: if the run has no baseline.
        ValueError: if an expert has a name that code cannot hold.
    """
    workdir = Path(workdir).expanduser()
    classifier, figures = run_folder.load_baseline(workdir)
    baseline = heads.backbone_of(classifier)
    head = run_folder.head_of(classifier, figures)
    row = _row(figures, figures["top1"], None)
    experts = _order(workdir, run_folder.list_experts(workdir))
    names = _module_names(experts)  # before all the work
    has_bank = any(kind == handles.ADAPTER for kind, _ in experts)
    epn = run_folder.load_epn(workdir)
    is_text = row.get("medium") == TEXTS
    if is_text and publication.samples:
        raise ValueError(
            "Samples are published of images alone (--samples). "
            f"Received: {workdir}, a run on texts."
        )
    steps = 1 + len(experts) + has_bank + (epn is not None) + is_text
    with (
        CollectionWriter(Path(output).expanduser(), publication) as writer,
        progress("exporting", steps) as bar,
    ):
        shared = {}
        if is_text:
            shared = _add_preprocessor(writer, workdir, row)
            bar.advance(1)
        row |= shared
        source = workdir / "baseline"
        prior = run_folder.read_label_prior(source)
        writer.add_network(handles.BASELINE, baseline, row, source, head, prior)
        bar.advance(1)
        adapters = {}
        for (kind, name), parents in experts.items():
            source = workdir / "experts" / kind / name
            network, told = _load_expert(workdir, kind, name, baseline, parents)
            own = run_folder.read_label_prior(source)
            part = names[kind, name]
            # Adapters share the baseline's head; full experts' are too large.
            told |= shared
            writer.add_network(part, network, told, source, prior=own)
            if kind == handles.ADAPTER:
                adapters[name] = {"name": name, **told}, own
            bar.advance(1)
        if has_bank:
            bank, order = run_folder.load_bank(workdir)
            rows, priors = zip(*(adapters[name] for name in order), strict=True)
            of_bank = bank, row, [*rows], storage, head, [prior, *priors]
            writer.add_bank(handles.BANK, *of_bank)
            bar.advance(1)
        if epn is not None:
            writer.add_epn(epn[0], _epn_row(epn[1], figures))
            bar.advance(1)
        return writer.finish()


def _add_preprocessor(
    writer: CollectionWriter, workdir: Path, row: dict
) -> dict:
    """Adds what tokenises texts, and gives what encoders tell of it."""
    folder = workdir / handles.PREPROCESSOR
    return {"preprocessor": writer.add_preprocessor(folder, row)}


def _load_expert(
    workdir: Path, kind: str, name: str, baseline: BitResNet, parents: list[str]
) -> tuple[BitResNet, dict]:
    """Loads an expert and what is published of its training."""
    network, figures = run_folder.load_expert(workdir, kind, name, baseline)
    top1 = figures["slice_top1"], figures["slice_top1_baseline"]
    return network, _row(figures, *top1, parents)


def _module_names(
    experts: Iterable[tuple[str, str]],
) -> dict[tuple[str, str], str]:
    """Gives of each expert the last part of its handle; all are different.

    Training's names may have letters that a handle may not.
    """
    wanted = {}
    for kind, name in experts:
        naming.check_name("expert", name, naming.EXPERT_PATTERN)
        # Full experts are told from adapters of the same domain.
        wanted[kind, name] = f"{name}-full" if kind == handles.FULL else name
    names = {}
    taken = {handles.BASELINE, handles.BANK, handles.EPN}
    taken.add(handles.PREPROCESSOR)
    # What needs no cleaning first: others do not change its handle.
    for expert in sorted(
        wanted, key=lambda e: wanted[e] != naming.clean_name(wanted[e])
    ):
        cleaned = naming.clean_name(wanted[expert])
        numbered = (f"{cleaned}_{number}" for number in itertools.count(2))
        free = itertools.chain([cleaned], numbered)
        names[expert] = next(name for name in free if name not in taken)
        taken.add(names[expert])
    return names


def _order(workdir: Path, found: list[tuple[str, str]]) -> dict:
    """Orders experts as experts.json does, with their parents there."""
    listed = {}
    if (workdir / "experts.json").exists():
        experts = domains.read_experts(workdir / "experts.json")
        listed = {expert.name: expert for expert in experts}
    places = {name: place for place, name in enumerate(listed)}
    ordered = sorted(
        found, key=lambda e: (e[0], places.get(e[1], len(places)), e[1])
    )
    return {
        (kind, name): listed[name].parents if name in listed else []
        for kind, name in ordered
    }


def _epn_row(figures: dict, baseline: dict) -> dict:
    """Gives what is published of a prediction network's training."""
    told = zip(figures["experts"], figures["synsets"], strict=True)
    experts = [{"name": name, "synset": synset} for name, synset in told]
    hierarchy = {"hierarchy": baseline.get("hierarchy")}
    row = _row({**hierarchy, **figures}, None, None)
    return {**row, "experts": experts}


def _row(
    figures: dict,
    top1: float | None,
    top1_baseline: float | None,
    parents: list[str] = [],
) -> dict:
    """Gives what is published of a network's training."""
    is_expert = figures["kind"] in (handles.ADAPTER, handles.FULL)
    return {
        "kind": figures["kind"],
        "domain": figures["name"] if is_expert else None,
        "synset": figures.get("synset"),
        "parents": parents,
        "dataset": figures["dataset"],
        "hierarchy": figures.get("hierarchy"),
        "num_images": figures["num_images"],
        "num_classes": figures.get("num_classes")
        or len(figures.get("classes", ())),
        "num_steps": figures["num_steps"],
        "batch_size": figures["batch_size"],
        "top1": top1,
        "top1_baseline": top1_baseline,
        **{key: figures[key] for key in OF_INPUTS if key in figures},
    }
