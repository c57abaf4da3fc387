"""The commands of an upstream trainer."""

from keras_experts.commands.shared import check_data_set
from keras_experts.commands.shared import give_json
from keras_experts.commands.shared import load_tensorflow
from keras_experts.commands.shared import percent

LABEL_KEY = "label"  # TFDS feature that holds nodes by default


def choose_experts(options) -> None:
    """Chooses expert domains and writes experts.json."""
    from keras_experts import domains
    from keras_experts.console import print_table
    from keras_experts.console import print_tree
    from keras_experts.hierarchy import Hierarchy

    if options.dataset:
        check_data_set("dataset", options.dataset, options.data_dir)
    hierarchy = Hierarchy.read(options.hierarchy)
    if options.counts:
        counts = domains.read_counts(options.counts)
    else:
        load_tensorflow()
        from keras_experts.data.upstream_sources import count_labels

        counts = count_labels(
            options.dataset,
            options.label_key or LABEL_KEY,
            options.data_dir,
        )
    experts = hierarchy.choose_experts(
        counts,
        options.num_experts,
        options.min_images,
        options.distinct,
        options.max_fraction,
    )
    content = domains.experts_to_json(hierarchy.name, experts)
    if give_json(options.output, content):
        return
    if options.tree:
        print_tree(
            f"Experts, written to {options.output}",
            hierarchy.nearest_above([e.synset for e in experts]),
            {e.synset: f"{e.name}  {e.num_images:,}" for e in experts},
        )
        return
    print_table(
        f"Experts, written to {options.output}",
        ("expert", "synset", "images"),
        [(e.name, e.synset, f"{e.num_images:,}") for e in experts],
    )


def train_baseline(options) -> None:
    """Trains the baseline."""
    load_tensorflow()
    from keras_experts.training import pretraining

    _parse_gin(options)
    result = pretraining.train_baseline(options.workdir)
    _print_stage(result, [("top1", percent(result["top1"]))])


def train_experts(options) -> None:
    """Trains the experts."""
    load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.training import experts

    _parse_gin(options)
    given = {}
    if options.experts is not None:
        given["names"] = ",".join(options.experts).split(",")
    results = experts.train_experts(options.workdir, **given)
    print_table(
        "Top-1 on the test images of each slice",
        (
            *("expert", "images", "baseline", "expert's own", "last loss"),
            *("images/s", "input images/s"),
        ),
        [
            (
                row["name"],
                f"{row['num_images']:,}",
                percent(row["slice_top1_baseline"]),
                percent(row["slice_top1"]),
                _figure(row["final_loss"], ".3f"),
                _figure(row["images_per_second"], ",.1f"),
                _figure(row["input_images_per_second"], ",.0f"),
            )
            for row in results
        ],
    )


def train_epn(options) -> None:
    """Trains the expert prediction network."""
    load_tensorflow()
    from keras_experts.training import prediction_network

    _parse_gin(options)
    result = prediction_network.train_epn(options.workdir)
    found = result["calibration"]
    _print_stage(
        result,
        [
            ("accuracy", percent(result["accuracy"])),
            (
                "expected calibration error",
                percent(found["expected_calibration_error"]),
            ),
            ("brier score", f"{found['brier_score']:.4f}"),
        ],
    )


def merge_experts(options) -> None:
    """Merges shares of experts into one run."""
    load_tensorflow()
    from keras_experts.models import run_folder

    copied = run_folder.merge_experts(options.workdir, options.shares)
    for expert in copied:
        print(expert)


def _parse_gin(options) -> None:
    from keras_experts import config

    config.parse(options.gin_file, options.gin_param)


def _print_stage(result: dict, figures: list[tuple[str, str]]) -> None:
    from keras_experts.console import print_table

    print_table(
        result["name"],
        ("figure", "value"),
        [
            ("images", f"{result['num_images']:,}"),
            ("steps", f"{result['num_steps']:,}"),
            ("batch size", f"{result['batch_size']:,}"),
            ("last loss", _figure(result["final_loss"], ".3f")),
            *figures,
            ("step, images/s", _figure(result["images_per_second"], ",.1f")),
            (
                "input alone, images/s",
                _figure(result["input_images_per_second"], ",.0f"),
            ),
            ("seconds", f"{result['seconds']:,.0f}"),
        ],
    )


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
