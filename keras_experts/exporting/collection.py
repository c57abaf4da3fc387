"""A training run as a collection of modules, archives and cards."""

from pathlib import Path

from keras_experts import domains
from keras_experts.console import progress
from keras_experts.exporting.collection_writer import CollectionWriter
from keras_experts.exporting.collection_writer import Publication
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.saved_models import handles


def export_run(
    workdir: str | Path,
    output: str | Path,
    publication: Publication,
    storage: str = "float32",
) -> list[dict]:
    """Exports a run's baseline and experts; what is there already stays.

    Args:
        workdir: folder of the run.
        output: folder of the collection; made if it is not there.
        publication: Publication.
        storage: str. As in `write_bank`, for the module of all adapters.

    Returns:
        list of dict. The rows of `collection.json`.

    Raises:
        FileNotFoundError: if the run has no baseline.
    """
    workdir, output = Path(workdir), Path(output)
    classifier, baseline_figures = run_folder.load_baseline(workdir)
    baseline = heads.backbone_of(classifier)
    found = run_folder.list_experts(workdir)
    experts = _order(workdir, found)
    writer = CollectionWriter(output, publication)
    adapters = []
    total = 1 + len(experts) + any(kind == "adapter" for kind, _ in experts)
    with progress("exporting", total) as bar:
        writer.add_network(
            handles.BASELINE,
            baseline,
            _row(baseline_figures, baseline_figures["top1"], None),
            workdir / "baseline",
        )
        bar.advance(1)
        for (kind, name), parents in experts.items():
            network, figures = run_folder.load_expert(
                workdir, kind, name, baseline
            )
            row = _row(
                figures,
                figures["slice_top1"],
                figures["slice_top1_baseline"],
                parents,
            )
            # Full experts are told from adapters of the same domain.
            module = f"{name}-full" if kind == "full" else name
            source = workdir / "experts" / kind / name
            writer.add_network(module, network, row, source)
            if kind == "adapter":
                adapters.append({"name": name, **row})
            bar.advance(1)
        if adapters:
            bank, names = run_folder.load_bank(workdir)
            by_name = {row["name"]: row for row in adapters}
            writer.add_bank(
                handles.BANK,
                bank,
                _row(baseline_figures, baseline_figures["top1"], None),
                [by_name[name] for name in names],
                storage,
            )
            bar.advance(1)
    return writer.finish()


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


def _row(
    figures: dict,
    top1: float | None,
    top1_baseline: float | None,
    parents: list[str] = [],
) -> dict:
    """Gives what is published of a network's training."""
    is_baseline = figures["kind"] == handles.BASELINE
    return {
        "kind": figures["kind"],
        "domain": None if is_baseline else figures["name"],
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
        "image_size": figures["image_size"],
    }
