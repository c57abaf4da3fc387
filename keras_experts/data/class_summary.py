"""The classes of a task and their examples, reported before work starts."""

import numpy as np

from keras_experts.console import say
from keras_experts.data.tasks import Task

MAX_CLASSES = 20  # that are listed


def say_classes(task: Task) -> None:
    """Reports how many examples each class of a task has.

    Raises:
        ValueError: if the training examples are of a single class.
    """
    singletons = task.check_classes(task.train.labels)
    names = task.class_names
    counts = [np.bincount(task.train.labels, minlength=len(names))]
    kinds = [f"{task.train.num_examples:,} training"]
    if task.test.num_examples:
        counts.append(np.bincount(task.test.labels, minlength=len(names)))
        kinds.append(f"{task.test.num_examples:,} test")
    rows = [
        f"{name} {' + '.join(map(str, numbers))}"
        for name, *numbers in zip(names, *counts, strict=True)
    ]
    listed = ", ".join(rows[:MAX_CLASSES])
    if len(rows) > MAX_CLASSES:
        listed += f" and {len(rows) - MAX_CLASSES} more classes"
    say(
        f"{task.name}: {' + '.join(kinds)} {task.medium} of {len(names)} "
        f"classes: {listed}"
    )
    if singletons:
        say(
            f"{task.name}: little can be learned of the classes with a single "
            f"training example: {', '.join(singletons)}"
        )
