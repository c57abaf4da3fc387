"""The commands of someone with images and a task."""

from keras_experts.commands.shared import check_data_set
from keras_experts.commands.shared import configure_strategies
from keras_experts.commands.shared import give_json
from keras_experts.commands.shared import load_tensorflow
from keras_experts.commands.shared import percent


def demo(options) -> None:
    """Runs the whole method on embedded data."""
    load_tensorflow()
    from keras_experts import demo

    demo.run(options.workdir)


def select(options) -> None:
    """Ranks experts for a task, or for several."""
    for task in options.task:
        check_data_set("task", task, options.data_dir)
    load_tensorflow()
    from keras_experts.selection.racing import Racing
    from keras_experts.selection.selector import select_many

    configure_strategies(options)
    racing: object = options.racing
    if racing in ("error", "budget"):
        limit = getattr(options, racing)
        racing = Racing(racing, **{} if limit is None else {racing: limit})
    selections = select_many(
        options.task,
        options.modules,
        options.strategy,
        options.num_examples,
        options.data_dir,
        options.trust,
        options.margin,
        racing,
        not options.no_cache,
        options.time_limit,
        options.processes,
        options.report,
        options.combine,
        options.beam,
        options.beam_folder,
        text_column=options.text_column,
        label_column=options.label_column,
    )
    contents = [selection.to_json() for selection in selections]
    content = contents[0] if len(contents) == 1 else contents
    if give_json(options.json, content):
        return
    for selection in selections:
        _print_selection(selection)


def _print_selection(selection) -> None:
    from keras_experts.console import print_table

    is_share = selection.is_share
    shown = percent if is_share else "{:.4g}".format

    def change(entry) -> str:
        if entry.over_baseline is None:
            return ""
        sign = "+" if entry.over_baseline > 0 else ""
        text = sign + shown(entry.over_baseline)
        if entry.over_baseline_error is not None:
            text += f" ± {shown(entry.over_baseline_error)}"
        return text

    def interval(entry) -> str:
        if entry.interval is None:
            return ""
        return " to ".join(map(shown, entry.interval))

    columns = ("expert", "score", "95% interval", "gain over baseline")
    columns = (*columns, "seconds")
    if selection.race:  # eliminated modules have seen some of the images
        columns = (*columns, selection.medium)
    print_table(
        f"{selection.task}: {selection.title}, "
        f"{selection.num_examples} examples",
        columns,
        [
            (
                entry.expert,
                shown(entry.score),
                interval(entry),
                change(entry),
                f"{entry.seconds:.1f}",
                *([f"{entry.examples:,}"] if selection.race else []),
            )
            for entry in selection.ranking
        ],
    )
    if selection.lead is not None:
        gain = selection.lead.cross_fitted
        if gain is not None:
            print(f"cross-fitted gain {'+' if gain > 0 else ''}{shown(gain)}")
    print(f"test {selection.medium} {selection.num_test} not used")
    if selection.num_duplicates:
        print(
            f"exact copies of other {selection.medium} "
            f"{selection.num_duplicates}"
        )
    print(
        f"forward passes {selection.computed} run {selection.cached} from the "
        "cache"
    )
    if selection.race is not None:
        print(f"saved by racing {selection.race.saved:.1%}")
    if selection.combination is not None:
        combined = selection.combination
        names = " + ".join(combined["experts"])
        print(
            f"combined {names} {combined['accuracy']:.1%} "
            f"(cross-fitted {combined['honest_accuracy']:.1%}, of single "
            f"experts {combined['single_honest_accuracy']:.1%})"
        )
        if combined["routed_accuracy"] is not None:
            print(f"routed image by image {combined['routed_accuracy']:.1%}")
    print(f"best {selection.best.module}")
    print(selection.conclusion.text)
    if selection.next_command is not None:
        print(f"next {selection.next_command}")


def finetune(options) -> None:
    """Fine-tunes a module on a task."""
    check_data_set("task", options.task, options.data_dir)
    load_tensorflow()
    from keras_experts.training.finetuning import finetune

    names = (
        *("module", "task", "output", "data_dir", "num_examples"),
        *("text_column", "label_column"),
        *("num_images", "batch_size", "base_learning_rate", "image_size"),
        *("flip", "max_shift", "groups", "validation", "patience"),
        *("precision", "strategy", "seed", "trust", "input_range"),
    )
    metrics = finetune(**{name: getattr(options, name) for name in names})
    if metrics["accuracy"] is not None:
        print(f"accuracy {metrics['accuracy']:.4f} share")
        low, high = metrics["accuracy_interval"]
        print(f"95% interval {low:.4f} to {high:.4f}")
        medium = metrics.get("medium", "images")
        print(f"test {medium} {metrics['num_test']}")
    for rate, accuracy in metrics.get("rates", {}).items():
        if accuracy is None:
            print(f"rate {rate} diverged")
            continue
        taken = " taken" if float(rate) == metrics["base_learning_rate"] else ""
        print(f"rate {rate} validation accuracy {accuracy:.4f} share{taken}")
    if "best_step" in metrics:
        print(f"best step {metrics['best_step']}")
        print(f"validation accuracy {metrics['validation_accuracy']:.4f} share")
    print(f"trained on {metrics['num_train']} examples")
    if "warning" in metrics:
        print(f"warning {metrics['warning']}")
    print(f"module {options.output}/module")
    print(f"page {options.output}/report.html")
    print(f"next keras-experts predict --model {options.output} FILES")


def predict(options) -> None:
    """Classifies files."""
    load_tensorflow()
    from keras_experts.console import print_table
    from keras_experts.evaluation.prediction import predict

    rows = predict(
        options.model, options.files, options.trust, options.text_column
    )
    if not give_json(options.json, rows):
        print_table(
            "Predictions",
            ("file", "class", "probability"),
            [
                (_example_name(r), r["class"], percent(r["probability"]))
                for r in rows
                if "error" not in r
            ],
        )
    unread = [row for row in rows if "error" in row]
    named = [row for row in unread if row["named"]]
    if named or len(unread) == len(rows):
        first, *others = named or unread
        raise ValueError(
            "Each file to classify must be readable. Received: "
            f"{first['file']} ({first['error']})"
            + (f", and {len(others)} others that are not." if others else ".")
        )


def _example_name(row: dict) -> str:
    """Returns what the table calls an image or a text of a file."""
    place = row.get("place")
    return f"{row['file']}, {place}" if place else row["file"]
