"""The pages of the API: which names stand on which, and in what order.

The texts are the docstrings, which mkdocstrings reads from the source without
running it. Public names are those that the packages' `attach` calls list.
"""

import ast
import dataclasses
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "keras_experts"
# Packages whose `__init__` lists public names.
PUBLIC = (PACKAGE, *(f"{PACKAGE}.{p}" for p in ("layers", "models")))
PUBLIC += (f"{PACKAGE}.selection",)


@dataclasses.dataclass(frozen=True)
class Page:
    """A page of the API.

    Attributes:
        path: str. Of the page, below `api/`.
        title: str.
        text: str. What stands above the first name.
        names: tuple of str. Modules and names in them, without the package.
    """

    path: str
    title: str
    text: str
    names: tuple[str, ...]

    @property
    def identifiers(self) -> list[str]:
        """The names with their package, as Python imports them."""
        return [f"{PACKAGE}.{name}" for name in self.names]

    def markdown(self) -> str:
        """Gives the page, to be filled by mkdocstrings."""
        blocks = "\n".join(map(block, self.identifiers))
        return f"# {self.title}\n\n{self.text}\n\n{blocks}"


PAGES = (
    Page(
        "selection.md",
        "Selection",
        "From images and a pool to a ranking. `keras_experts.select` is the "
        "whole of it; the parts stand alone.",
        (
            "selection.selector.select",
            "selection.ranking.Selection",
            "selection.ranking.Entry",
            "selection.modules.Candidate",
            "selection.neighbors.leave_one_out_accuracy",
            "selection.neighbors.nearest_neighbors",
            "selection.transferability.log_maximum_evidence",
            "selection.transferability.h_score",
            "selection.transferability.leep",
        ),
    ),
    Page(
        "strategies.md",
        "Strategies and races",
        "What scores a module, and what drops it early. gin binds their "
        "attributes by these names; `keras_experts.select` takes instances.",
        (
            "selection.strategies.Knn",
            "selection.strategies.Logistic",
            "selection.strategies.Svm",
            "selection.strategies.Tree",
            "selection.strategies.LogMe",
            "selection.strategies.HScore",
            "selection.strategies.Leep",
            "selection.pool_strategies.DomainPrediction",
            "selection.pool_strategies.LabelMatching",
            "selection.pool_strategies.NameMatching",
            "selection.pool_strategies.Random",
            "selection.pool_strategies.Baseline",
            "selection.strategies.FeatureStrategy",
            "selection.pool_strategies.PoolStrategy",
            "selection.strategies.Evidence",
            "selection.statistics.Score",
            "selection.racing.Racing",
        ),
    ),
    Page(
        "transfer.md",
        "Transfer",
        "A module, a new head and a task's images.",
        (
            "training.finetuning.finetune",
            "evaluation.expert_classifier.ExpertClassifier",
            "evaluation.prediction.predict",
            "data.tasks.load_task",
            "data.tasks.Task",
            "data.labeled_images.LabeledImages",
            "data.labeled_images.from_arrays",
        ),
    ),
    Page(
        "hierarchy.md",
        "Hierarchies",
        "Labels, what is above them, and which nodes get an expert.",
        ("hierarchy.Hierarchy", "domains.ExpertDomain"),
    ),
    Page(
        "layers.md",
        "Layers",
        "From `keras_experts.layers`. All but `HubLayer` run on any Keras "
        "backend.",
        (
            "layers.standardized_conv.StandardizedConv2D",
            "layers.residual_adapter.ResidualAdapter",
            "layers.adapter_bank.AdapterBank",
            "layers.adapter_groups.AdapterGroups",
            "layers.label_router.LabelRouter",
            "layers.text_embedding.TextEmbedding",
            "layers.masked_mean.MaskedMean",
            "layers.hub_layer.HubLayer",
        ),
    ),
    Page(
        "models.md",
        "Models",
        "From `keras_experts.models`: the backbone, and experts in it.",
        (
            "models.backbone.bit_resnet",
            "models.backbone.BitResNet",
            "models.text_encoder.TextEncoder",
            "models.bit_weights.load_bit_weights",
            "models.experts.add_adapters",
            "models.experts.extract_expert",
            "models.experts.insert_expert",
            "models.heads.add_head",
        ),
    ),
    Page(
        "publishing.md",
        "Publishing",
        "A run as a collection, and a bank without its run.",
        (
            "exporting.collection.export_run",
            "exporting.collection_writer.Publication",
            "exporting.editing.add_expert",
            "exporting.editing.remove_expert",
            "exporting.site.write_site",
            "exporting.host.make_app",
        ),
    ),
    Page(
        "evaluation.md",
        "Evaluation",
        "The paper's protocol, its results and their statistics.",
        (
            "evaluation.evaluating.evaluate",
            "evaluation.protocol.Protocol",
            "evaluation.suites.Suite",
            "evaluation.suites.SuiteEntry",
            "evaluation.results.Results",
            "evaluation.results.Run",
            "evaluation.results.SuiteTask",
            "evaluation.results.read_results",
            "evaluation.statistics.Summary",
            "evaluation.statistics.Estimate",
        ),
    ),
)


def public_names(package: str) -> dict[str, str]:
    """Returns where each public name of a package is defined.

    A package imports its names, or lists their modules in a call of `attach`.

    Args:
        package: str. Such as "keras_experts.layers".

    Returns:
        dict. Such as "keras_experts.hierarchy.Hierarchy" by "Hierarchy".
    """
    path = ROOT.joinpath(*package.split("."), "__init__.py")
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    for node in nodes:
        is_call = isinstance(node, ast.Call)
        if is_call and getattr(node.func, "id", "") == "attach":
            modules = ast.literal_eval(node.args[1])
            return {n: f"{package}.{m}.{n}" for n, m in modules.items()}
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: f"{node.module}.{alias.name}"
        for node in imports
        for alias in node.names
    }


def block(identifier: str) -> str:
    """Gives what mkdocstrings fills with the text of one name."""
    shown = SHOWN.get(identifier, identifier)
    return f'::: {identifier}\n    options:\n      heading: "{shown}"\n'


def index() -> str:
    """Gives the page of all public names, each with a link to its text."""
    text = [
        "# Python API\n",
        "Importing `keras_experts` imports nothing heavy; its sub-packages are "
        "imported on first use. These are the public names; the pages "
        "beside this one have their docstrings, and those of what they take "
        "and give.\n",
    ]
    for package in PUBLIC:
        text.append(f"## `{package}`\n")
        for name, place in public_names(package).items():
            text.append(f"- [`{name}`][{place}]")
        text.append("")
    return "\n".join(text)


# Of names that a package gives, as people write them.
SHOWN = {
    place: f"{package}.{name}"
    for package in reversed(PUBLIC)
    for name, place in public_names(package).items()
}


def pages() -> dict[str, str]:
    """Gives all pages of the API by their path."""
    found = {f"api/{page.path}": page.markdown() for page in PAGES}
    return {"api/index.md": index(), **found}
