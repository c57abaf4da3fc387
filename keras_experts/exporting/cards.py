"""Cards and pages in tfhub.dev's markdown.

The format and its metadata are those of tools/validator.py and tags/ of
tensorflow/tfhub.dev; a tree of such files can be handed in there as it is.
"""

from collections.abc import Sequence
from pathlib import Path

from keras_experts import templates
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS
from keras_experts.saved_models import handles

# Tags of tfhub.dev, by what stands in the name of a data set.
DATASET_TAGS = {
    "imagenet21k": "imagenet-21k",
    "imagenet-21k": "imagenet-21k",
    "cifar100": "cifar-100",
}
OTHER_DATASET = "other"
ARCHITECTURE_TAGS = {50: "resnet50-v2", 101: "resnet101-v2"}
OTHER_ARCHITECTURE = "resnet"
TEXT_ARCHITECTURE = "transformer"
FEATURES_TASKS = {IMAGES: "image-feature-vector", TEXTS: "text-embedding"}
TASKS = {
    handles.EPN: "image-classification",
    handles.PREPROCESSOR: "text-preprocessing",
}
NETWORKS = {IMAGES: "BiT network", TEXTS: "Text encoder"}
LICENSES = (
    *("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-nc-4.0"),
    *("cddl-1.0", "custom", "epl-2.0", "gpl-2.0", "gpl-3.0", "lgpl-2.0"),
    *("lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0"),
)
DOCS_FOLDER = "docs"
# Its validator finds the modules of a collection by these addresses.
TFHUB_DEV = "https://tfhub.dev"


def card_path(publisher: str, name: str, version: int) -> Path:
    """Gives where a module's card stands in a collection."""
    folder = Path(DOCS_FOLDER) / publisher / "models"
    return folder / name / f"{version}.md"


def card(row: dict, license: str, base_url: str) -> str:
    """Writes the card of a module.

    Args:
        row: dict. Its row of `collection.json`.
        license: str. One of `LICENSES`.
        base_url: str. Where the collection is to be found, or "".
    """
    return templates.render(
        "text_module.md.j2" if _medium(row) == TEXTS else "module.md.j2",
        row=row,
        url=_url(base_url, row["handle"]),
        asset_path=_url(base_url, row["archive"]),
        description=description(row),
        preprocessor=_url(base_url, row.get("preprocessor") or row["handle"]),
        overview=_overview(row),
        **_tags(row),
        license=license,
    )


def collection_page(
    publisher: str, name: str, rows: Sequence[dict], base_url: str
) -> str:
    """Renders the page of a collection, with the latest of each name.

    Args:
        publisher: str. Publisher of the collection.
        name: str. Name of the collection.
        rows: list of dict. Rows of `collection.json`.
        base_url: str. Address of the collection, or "": the links then lead
            to tfhub.dev, where a page that is handed in there has its modules.
    """
    rows = handles.latest_rows(rows)
    return templates.render(
        "collection.md.j2",
        publisher=publisher,
        name=name,
        rows=[
            {
                **row,
                "url": _url(base_url or TFHUB_DEV, _unversioned(row)),
                "tfhub_url": _url(TFHUB_DEV, _unversioned(row)),
                "description": description(row),
            }
            for row in rows
        ],
        datasets=sorted({_tags(row)["dataset"] for row in rows}),
        tasks=sorted({_task(row) for row in rows}),
    )


def publisher_page(publisher: str) -> str:
    """Writes the page of a publisher."""
    return templates.render("publisher.md.j2", publisher=publisher)


def description(row: dict) -> str:
    """Describes a module in a line."""
    if row["kind"] == handles.BASELINE:
        network, medium = NETWORKS[_medium(row)], _medium(row)
        return f"{network} trained on all of the upstream {medium}."
    if row["kind"] == handles.PREPROCESSOR:
        return "Preprocessor of the texts that its collection's encoders take."
    if row["kind"] == handles.BANK:
        return (
            f"BiT network with {len(row['experts'])} adapter experts, chosen "
            "by number or by name."
        )
    if row["kind"] == handles.EPN:
        return (
            "BiT network that predicts to which of "
            f"{len(row['experts'])} experts an image belongs."
        )
    domain = row["domain"].replace("_", " ")
    # Random images and clusters have no node.
    part = "subtree" if row["synset"] else "part of the data"
    network = NETWORKS[_medium(row)]
    return f'{network} specialised on the "{domain}" {part}.'


def _overview(row: dict) -> str:
    if row["kind"] == handles.BASELINE:
        return (
            "The baseline of its collection, which the experts start from: "
            f"trained on all upstream {_medium(row)}, "
            f"{row['num_classes']:,} classes."
        )
    if row["kind"] == handles.PREPROCESSOR:
        return (
            f"It turns texts into the numbers of {row['vocabulary_size']:,} "
            "word pieces, without case and accents, as BERT's preprocessors "
            f"do. The vocabulary was learned from {row['num_images']:,} texts."
        )
    if row["kind"] == handles.BANK:
        return (
            "The baseline and, before each of its four blocks, a residual "
            "adapter for each expert. The index -1 is the baseline alone."
        )
    if row["kind"] == handles.EPN:
        return (
            "It learned which images each expert of its collection was made "
            "for: the baseline with a sigmoid for each, trained on all "
            f"upstream images for {row['num_steps']:,} steps of "
            f"{row['batch_size']} images. An expert whose probability has the "
            "highest geometric mean over a task's images is chosen for it."
        )
    domain = row["domain"].replace("_", " ")
    node = f" ({row['synset']})" if row["synset"] else ""
    how = {
        "adapter": "residual adapters on the frozen baseline",
        "full": "the whole baseline, fine-tuned",
    }[row["kind"]]
    return (
        f"An expert for {domain}{node}: {how}, trained for "
        f"{row['num_steps']:,} steps of {row['batch_size']} {_medium(row)}."
    )


def _medium(row: dict) -> str:
    return row.get("medium", IMAGES)


def _task(row: dict) -> str:
    return TASKS.get(row["kind"], FEATURES_TASKS[_medium(row)])


def _tags(row: dict) -> dict[str, str]:
    name = row["dataset"].lower()
    found = [tag for part, tag in DATASET_TAGS.items() if part in name]
    architecture = ARCHITECTURE_TAGS.get(row["depth"], OTHER_ARCHITECTURE)
    if _medium(row) == TEXTS:
        architecture = TEXT_ARCHITECTURE
    return {
        "task": _task(row),
        "dataset": found[0] if found else OTHER_DATASET,
        "architecture": architecture,
    }


def _unversioned(row: dict) -> str:
    return row["handle"].rpartition("/")[0]


def _url(base_url: str, path: str) -> str:
    return f"{base_url.rstrip('/')}/{path}" if base_url else path
