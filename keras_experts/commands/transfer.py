"""The commands of someone with images and a task."""

from keras_experts.commands.shared import load_tensorflow
from keras_experts.commands.shared import percent
from keras_experts.commands.shared import print_json


def demo(options) -> None:
    """Runs the whole method on embedded data."""
    load_tensorflow()
    from keras_experts import demo

    demo.run(options.workdir)


def select(options) -> None:
    """Ranks experts for a task."""
    load_tensorflow()
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.selection.selector import select

    selection = select(
        options.task,
        options.modules,
        options.strategy,
        options.num_examples,
        options.data_dir,
        options.trust,
    )
    content = selection.to_json()
    if print_json(options.json, content):
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
                percent(entry.score),
                percent(entry.standard_error),
                f"{entry.seconds:.1f}",
            )
            for entry in selection.ranking
        ],
    )
    print(f"best {selection.best.module}")


def finetune(options) -> None:
    """Fine-tunes a module on a task."""
    load_tensorflow()
    from keras_experts.training.finetuning import finetune

    names = (
        *("module", "task", "output", "data_dir", "num_examples"),
        *("num_images", "batch_size", "base_learning_rate", "image_size"),
        *("flip", "max_shift", "seed", "trust"),
    )
    metrics = finetune(**{name: getattr(options, name) for name in names})
    if metrics["accuracy"] is not None:
        print(f"accuracy {metrics['accuracy']:.4f} share")


def predict(options) -> None:
    """Classifies files."""
    load_tensorflow()
    from keras_experts import files
    from keras_experts.console import print_table
    from keras_experts.evaluation.prediction import predict

    rows = predict(options.model, options.files)
    if print_json(options.json, rows):
        return
    if options.json:
        files.write_json(options.json, rows)
    print_table(
        "Predictions",
        ("file", "class", "probability"),
        [(r["file"], r["class"], percent(r["probability"])) for r in rows],
    )
