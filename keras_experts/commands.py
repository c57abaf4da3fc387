"""What each command does with its flags.

Heavy modules are imported by the command that needs them, so that `--help`
takes no time.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator


class Misuse(Exception):
    """Flags that do not go together."""


def demo(options) -> None:
    """Runs the whole method on embedded data."""
    _load_tensorflow()
    from keras_experts import demo

    demo.run(options.workdir)


def choose_experts(options) -> None:
    """Chooses expert domains and writes experts.json."""
    from keras_experts import domains
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.console import print_tree
    from keras_experts.hierarchy import Hierarchy

    if (options.num_experts is None) == (options.min_images is None):
        raise Misuse("Give exactly one of --num_experts and --min_images.")
    if (options.counts is None) == (options.dataset is None):
        raise Misuse("Give exactly one of --counts and --dataset.")
    hierarchy = Hierarchy.read(options.hierarchy)
    if options.counts:
        counts = domains.read_counts(options.counts)
    else:
        _load_tensorflow()
        from keras_experts.data.upstream_sources import count_labels

        counts = count_labels(
            options.dataset, options.label_key, options.data_dir
        )
    experts = hierarchy.choose_experts(
        counts,
        options.num_experts,
        options.min_images,
        options.distinct,
        options.max_fraction,
    )
    content = domains.experts_to_json(options.hierarchy, experts)
    if _write_json(options.output, content):
        return
    files.write_json(options.output, content)
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
    _load_tensorflow()
    from keras_experts.training import pretraining

    _parse_gin(options)
    result = pretraining.train_baseline(options.workdir)
    _print_stage(result, [("top1", _percent(result["top1"]))])


def train_experts(options) -> None:
    """Trains the experts."""
    _load_tensorflow()
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
                _percent(row["slice_top1_baseline"]),
                _percent(row["slice_top1"]),
                _figure(row["final_loss"], ".3f"),
                _figure(row["images_per_second"], ",.1f"),
                _figure(row["input_images_per_second"], ",.0f"),
            )
            for row in results
        ],
    )


def train_epn(options) -> None:
    """Trains the expert prediction network."""
    _load_tensorflow()
    from keras_experts.training import prediction_network

    _parse_gin(options)
    result = prediction_network.train_epn(options.workdir)
    found = result["calibration"]
    _print_stage(
        result,
        [
            ("accuracy", _percent(result["accuracy"])),
            (
                "expected calibration error",
                _percent(found["expected_calibration_error"]),
            ),
            ("brier score", f"{found['brier_score']:.4f}"),
        ],
    )


def merge_experts(options) -> None:
    """Merges shares of experts into one run."""
    _load_tensorflow()
    from keras_experts.models import run_folder

    copied = run_folder.merge_experts(options.workdir, options.shares)
    for expert in copied:
        print(expert)


def export(options) -> None:
    """Exports a run."""
    _load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.exporting.collection import export_run
    from keras_experts.exporting.collection_writer import Publication

    publication = Publication(
        options.publisher,
        options.name,
        options.license,
        options.base_url,
        options.samples,
    )
    rows = export_run(
        options.workdir, options.output, publication, options.storage
    )
    print_table(
        f"Collection in {options.output}",
        ("handle", "kind", "archive, MB"),
        [
            (row["handle"], row["kind"], f"{row['num_bytes'] / 1e6:,.1f}")
            for row in rows
        ],
    )


def select(options) -> None:
    """Ranks experts for a task."""
    _load_tensorflow()
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.selection.selector import select

    selection = select(
        options.task,
        options.modules,
        options.strategy,
        options.num_examples,
        options.data_dir,
    )
    content = selection.to_json()
    if _write_json(options.json, content):
        return
    if options.json:
        files.write_json(options.json, content)
    print_table(
        f"{selection.task}: leave-one-out accuracy of the nearest neighbour, "
        f"{selection.num_examples} images",
        ("expert", "score", "± error", "seconds"),
        [
            (
                entry.expert,
                _percent(entry.score),
                _percent(entry.standard_error),
                f"{entry.seconds:.1f}",
            )
            for entry in selection.ranking
        ],
    )
    print(f"best {selection.best.module}")


def finetune(options) -> None:
    """Fine-tunes a module on a task."""
    _load_tensorflow()
    from keras_experts.training.finetuning import finetune

    names = (
        *("module", "task", "output", "data_dir", "num_examples"),
        *("num_images", "batch_size", "base_learning_rate", "image_size"),
        *("flip", "max_shift", "seed"),
    )
    metrics = finetune(**{name: getattr(options, name) for name in names})
    if metrics["accuracy"] is not None:
        print(f"accuracy {metrics['accuracy']:.4f} share")


def predict(options) -> None:
    """Classifies files."""
    _load_tensorflow()
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.evaluation.prediction import predict

    rows = predict(options.model, options.files)
    if _write_json(options.json, rows):
        return
    if options.json:
        files.write_json(options.json, rows)
    print_table(
        "Predictions",
        ("file", "class", "probability"),
        [(r["file"], r["class"], _percent(r["probability"])) for r in rows],
    )


def _parse_gin(options) -> None:
    from keras_experts import config

    config.parse(options.gin_file, options.gin_param)


def _write_json(path: str | None, content: object) -> bool:
    """Prints JSON where the path is "-", and tells whether it did."""
    if path == "-":
        print(json.dumps(content, indent=2))
    return path == "-"


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


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Sends what C++ libraries print on loading into the void.

    TensorFlow prints to file descriptor 2 before any setting counts.
    """
    kept = os.dup(2)
    void = os.open(os.devnull, os.O_WRONLY)
    os.dup2(void, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(void)


def _load_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import tensorflow as tf

        # Several workers must be told of each other before devices are used.
        if "TF_CONFIG" not in os.environ:
            tf.config.list_logical_devices()
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
