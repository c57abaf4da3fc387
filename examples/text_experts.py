"""The table of docs/text_experts.md: pick, fine-tune and test on text tasks.

    python examples/text_experts.py --collection collection \
      --tasks texts/tasks --output study

selects a module of the collection for each task, fine-tunes the baseline and
the picked module, and prints Markdown. What is in `--output` already is not run
again. The column "TF-IDF" is a logistic regression of the words themselves,
which needs no upstream.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from keras_experts.data.tasks import Task
from keras_experts.data.tasks import load_task
from keras_experts.selection.selector import select
from keras_experts.training.finetuning import finetune

NUM_EXAMPLES = 1000
RECIPE = {"num_images": 12800, "batch_size": 32, "base_learning_rate": 1.6}
COLUMNS = (
    *("task", "classes", "baseline, 1-NN", "pick", "pick, 1-NN"),
    *("gain (points)", "best in resamples", "baseline, fine-tuned"),
    *("pick, fine-tuned", "TF-IDF", "test texts"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collection", type=Path, required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [
        of_task(path, options.collection, options.output)
        for path in sorted(options.tasks.iterdir())
    ]
    for row in (COLUMNS, ["---"] * len(COLUMNS), *rows):
        print(f"| {' | '.join(map(str, row))} |")


def of_task(path: Path, collection: Path, output: Path) -> list[object]:
    """Returns the row of a task, with the results of an earlier run."""
    task = load_task(path, num_examples=NUM_EXAMPLES)
    place = output / f"{path.stem}.json"
    if not place.exists():
        found = select(task, [collection], racing="off")
        place.write_text(json.dumps(found.to_json(), indent=2))
    selection = json.loads(place.read_text())
    entries = {entry["module"]: entry for entry in selection["ranking"]}
    baseline, pick = entries[selection["baseline"]], entries[selection["best"]]
    tuned = [
        tune(entry["module"], task, output / f"{path.stem}-{entry['expert']}")
        for entry in (baseline, pick)
    ]
    lead = "" if pick is baseline else f"{points(pick['over_baseline'])}"
    if pick["over_baseline_error"]:
        lead += f" ± {points(pick['over_baseline_error'])}"
    return [
        *(path.stem, len(task.class_names), percent(baseline["score"])),
        *(pick["expert"], percent(pick["score"]), lead),
        f"{pick['chance']:.0%}",
        *(percent(metrics["accuracy"]) for metrics in tuned),
        *(percent(of_words(task)), f"{task.test.num_examples:,}"),
    ]


def tune(module: str, task: Task, output: Path) -> dict:
    """Fine-tunes a module, or reads the metrics of an earlier run."""
    if not (output / "metrics.json").exists():
        finetune(module, task, output, **RECIPE)
    return json.loads((output / "metrics.json").read_text())


def of_words(task: Task) -> float:
    """Returns the test accuracy of a logistic regression of TF-IDF words."""
    train, test = (
        [text.decode() for text in side.read(np.arange(side.num_examples))]
        for side in (task.train, task.test)
    )
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=1000),
    )
    model.fit(train, task.train.labels)
    return float(np.mean(model.predict(test) == task.test.labels))


def percent(share: float) -> str:
    return f"{share:.1%}"


def points(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
