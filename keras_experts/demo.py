"""The whole method on embedded data, end to end, in minutes.

Rendered images with a hierarchy of their own are the upstream; the tasks are
scikit-learn's handwritten digits (real) and two rendered, structured ones.
Each stage reads what the one before left in files, as the commands do. Networks
this small keep one core busy, so two are fine-tuned at a time.
"""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from keras_experts import config
from keras_experts import domains
from keras_experts import files
from keras_experts.console import print_table
from keras_experts.console import progress
from keras_experts.console import say
from keras_experts.console import silence
from keras_experts.data import synthetic
from keras_experts.data.tasks import Task
from keras_experts.evaluation.demo_page import write_report
from keras_experts.exporting.collection import export_run
from keras_experts.exporting.collection_writer import Publication
from keras_experts.layers import HubLayer
from keras_experts.selection.selector import Selection
from keras_experts.selection.selector import select
from keras_experts.training import experts
from keras_experts.training import pretraining
from keras_experts.training.finetuning import finetune

NUM_EXPERTS = 3
MAX_FRACTION = 0.5
NUM_EXAMPLES = 1000  # training images of each task
NUM_TEST = 500
CACHE_VARIABLE = "TFHUB_CACHE_DIR"
IMAGE_SIZE = 24
# A miniature of the BiT-HyperRule's 256,000; the rate suits a tiny network.
NUM_IMAGES = 7680
BATCH_SIZE = 32
BASE_LEARNING_RATE = 1.6
NUM_PROCESSES = 2
# Below this the path is broken: 1-NN on raw pixels gives more.
MIN_DIGITS_ACCURACY = 0.90


def run(workdir: str | Path) -> list[dict]:
    """Runs every stage; finished ones are not run again.

    Args:
        workdir: folder that is made, or that an earlier run left.

    Returns:
        list of dict. One row a task, as the table has it.

    Raises:
        RuntimeError: if the fine-tuned digits stay under 90 %.
    """
    started = time.monotonic()
    workdir = Path(workdir)
    training, collection = workdir / "run", workdir / "collection"
    experts_file = training / "experts.json"
    if not experts_file.exists():
        files.write_json(experts_file, _choose())
    config.parse(["stages/demo_baseline.gin"])
    pretraining.train_baseline(training)
    config.parse(["stages/demo_experts.gin"])
    experts.train_experts(training)
    modules = export_run(training, collection, Publication("demo"))
    baseline = collection / modules[0]["path"]
    rows = _transfer(collection, str(baseline), workdir)
    report = workdir / "report.html"
    write_report(report, "keras_experts demo", rows)
    _print(rows, workdir, time.monotonic() - started)
    if importlib.util.find_spec("uvicorn"):
        say(f"Loaded over HTTP: {_load_from_host(collection)}")
    else:
        say("Not served: pip install 'keras_experts[serve]' to host it.")
    digits = rows[0]["expert_accuracy"]
    if digits < MIN_DIGITS_ACCURACY:
        raise RuntimeError(
            "The fine-tuned digits must reach "
            f"{MIN_DIGITS_ACCURACY:.0%}. Received: {digits:.1%}."
        )
    return rows


def _load_from_host(collection: Path) -> str:
    """Serves the collection, loads its bank by URL, and gives the URL."""
    command = [sys.executable, "-m", "keras_experts.cli", "serve"]
    with (
        files.temporary_folder() as cache,
        subprocess.Popen(
            [*command, str(collection), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        ) as host,
    ):
        kept = os.environ.get(CACHE_VARIABLE)
        os.environ[CACHE_VARIABLE] = str(
            cache
        )  # a port may have been another's
        try:
            address = host.stdout.readline().strip()
            url = f"{address}demo/experts/bank/1"
            module = HubLayer(url, arguments={"expert": 0})
            module(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32))
        finally:
            host.terminate()
            del os.environ[CACHE_VARIABLE]
            if kept is not None:
                os.environ[CACHE_VARIABLE] = kept
    return url


def _choose() -> dict:
    """Chooses distinct domains of at most half the images."""
    hierarchy = synthetic.make_hierarchy()
    experts = hierarchy.choose_experts(
        {name: 1 for name in synthetic.CLASSES},
        NUM_EXPERTS,
        distinct=True,
        max_fraction=MAX_FRACTION,
    )
    return domains.experts_to_json(hierarchy.name, experts)


def _tasks() -> dict[str, Task]:
    tasks = (
        synthetic.digits_task(NUM_EXAMPLES),
        synthetic.count_task(NUM_EXAMPLES, NUM_TEST, IMAGE_SIZE),
        synthetic.position_task(NUM_EXAMPLES, NUM_TEST, IMAGE_SIZE),
    )
    return {task.name: task for task in tasks}


def _transfer(collection: Path, baseline: str, workdir: Path) -> list[dict]:
    """Selects for each task, and fine-tunes the choices and the baseline."""
    tasks = _tasks()
    # New processes: TensorFlow does not survive a fork.
    with ProcessPoolExecutor(
        NUM_PROCESSES, multiprocessing.get_context("spawn"), silence
    ) as pool:
        runs: dict[tuple[str, str], Future] = {}
        for name in tasks:
            arguments = (name, baseline, workdir)
            runs[name, baseline] = pool.submit(_finetune, *arguments)
        selections = {}
        for name, task in tasks.items():
            page = workdir / _selection_page(name)
            page.parent.mkdir(parents=True, exist_ok=True)
            selection = select(
                task, [collection], num_examples=NUM_EXAMPLES, report=page
            )
            path = page.with_suffix(".json")
            files.write_json(path, selection.to_json())
            best = selection.best.module
            if best != baseline:
                arguments = (name, best, workdir)
                runs[name, best] = pool.submit(_finetune, *arguments)
            selections[name] = selection
        accuracies = {}
        with progress("fine-tuning", len(runs)) as bar:
            for key, run in runs.items():
                accuracies[key] = run.result()
                bar.advance(1)
    return [
        _row(name, selection, baseline, accuracies)
        for name, selection in selections.items()
    ]


def _finetune(task_name: str, module: str, workdir: Path) -> float:
    """Fine-tunes unless it was done; gives the accuracy on test images."""
    output = workdir / _output(task_name, module)
    if not (output / "metrics.json").exists():
        finetune(
            module,
            _tasks()[task_name],
            output,
            num_images=NUM_IMAGES,
            batch_size=BATCH_SIZE,
            base_learning_rate=BASE_LEARNING_RATE,
        )
    return files.read_json(output / "metrics.json")["accuracy"]


def _output(task_name: str, module: str) -> str:
    """Returns the folder of a fine-tuned module, relative to the workdir."""
    return f"finetuned/{task_name}-{Path(module).parent.name}"


def _selection_page(task_name: str) -> str:
    """Returns the page of a task's selection, relative to the workdir."""
    return f"selections/{task_name}.html"


def _row(
    name: str,
    selection: Selection,
    baseline: str,
    accuracies: dict[tuple[str, str], float],
) -> dict:
    scores = {entry.module: entry.score for entry in selection.ranking}
    best = selection.best
    return {
        "task": name,
        "baseline_score": scores[baseline],
        "expert": best.expert,
        "expert_score": best.score,
        "baseline_accuracy": accuracies[name, baseline],
        "expert_accuracy": accuracies[name, best.module],
        "ranking": selection.to_json()["ranking"],
        "links": {
            "selection": _selection_page(name),
            "expert": f"{_output(name, best.module)}/report.html",
            "baseline": f"{_output(name, baseline)}/report.html",
        },
    }


def _print(rows: list[dict], workdir: Path, seconds: float) -> None:
    print_table(
        f"All of it in {seconds:.0f} s",
        (
            *("task", "chosen expert", "its kNN", "baseline's kNN"),
            *("its accuracy", "baseline's accuracy"),
        ),
        [
            (
                row["task"],
                row["expert"],
                f"{row['expert_score']:.1%}",
                f"{row['baseline_score']:.1%}",
                f"{row['expert_accuracy']:.1%}",
                f"{row['baseline_accuracy']:.1%}",
            )
            for row in rows
        ],
    )
    for name, text in (
        ("run/", "baseline and experts, with their gin configuration"),
        ("collection/", "modules for TensorFlow Hub, with their cards"),
        ("selections/", "rankings: a page and a JSON file for each task"),
        ("finetuned/", "classifiers: keras-experts predict --model ..."),
        ("report.html", "all of it to look at"),
    ):
        say(f"{workdir / name}  {text}")
