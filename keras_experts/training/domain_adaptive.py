"""Domain adaptive transfer: upstream images drawn for one task.

The method that the paper compares itself with (section 6.6; Ngiam et al.,
2018): the baseline tells which upstream labels a task's images look like, the
upstream images are drawn anew by that, the baseline is fine-tuned on them, and
the result on the task. Each new task costs an upstream training.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_experts import config
from keras_experts.data import vtab
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.streams import stream_seed
from keras_experts.data.tasks import load_task
from keras_experts.data.upstream import Upstream
from keras_experts.models import run_folder
from keras_experts.training.slices import Slice


@config.register
def domain_adaptive_slices(
    data: Upstream,
    workdir: Path,
    features: Callable[[LabeledImages], np.ndarray],
    tasks: Sequence[str] | Mapping[str, str] = (),
    data_dir: str | None = None,
    num_examples: int = 1000,
    num_images: int | None = None,
    seed: int = 0,
) -> list[Slice]:
    """Draws upstream images, with replacement, by their weight for each task.

    Args:
        data: Upstream.
        workdir: folder of the run.
        features: function of images to the baseline's features.
        tasks: names of tasks of VTAB, or tasks as `finetune` takes them; the
            experts are called dat_NAME. A dict gives names of one's own, such
            as a suite has: {"pets": "oxford_iiit_pet:4.*.*"}.
        data_dir: str. The folder of TFDS data sets, or None.
        num_examples: int. Training images of a task, at most.
        num_images: int. Images to draw, or None for as many as there are.
        seed: int. Of the draw.

    Raises:
        FileNotFoundError: if a task is not there.
        ValueError: if there is no task.
    """
    if not tasks:
        raise ValueError(
            "Domain adaptive transfer needs a task: domain_adaptive_slices."
            'tasks = ["NAME"]. Received: none.'
        )
    classifier, metadata = run_folder.load_baseline(workdir)
    head = run_folder.head_of(classifier, metadata)
    classes = data.class_targets(data.train)(np.arange(data.train.num_examples))
    everything = np.arange(data.test.num_examples)
    slices = []
    for name, images in _images_of(tasks, data_dir, num_examples):
        probabilities = head.probabilities(features(images))
        weights = image_weights(probabilities[:, : classes.shape[1]], classes)
        rng = np.random.default_rng(stream_seed(seed, name))
        number = num_images or data.train.num_examples
        drawn = rng.choice(len(weights), number, p=weights)
        train = np.sort(drawn).astype(np.int32)
        slices.append(Slice(f"dat_{name}", None, train, everything))
    return slices


def _images_of(
    tasks: Sequence[str] | Mapping[str, str],
    data_dir: str | None,
    num_examples: int,
) -> Iterator[tuple[str, LabeledImages]]:
    """Gives of each task its name and the images to learn from."""
    named = tasks if isinstance(tasks, Mapping) else dict(zip(tasks, tasks))
    for name, source in named.items():
        if source in vtab.TASKS:
            task = vtab.TASKS[source].load(data_dir, final=True)
            yield name, task.train
        else:
            task = load_task(source, data_dir, num_examples)
            yield task.name if name == source else name, task.train


def image_weights(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Gives the chance of each upstream image to be drawn for a task.

    A label's importance is its probability among the task's images over its
    frequency upstream; an image's is the mean of its labels'.

    Args:
        probabilities: float array `(images, classes)`. Of the baseline on the
            task's images.
        classes: float array `(upstream_images, classes)`, zeros and ones.

    Returns:
        Float64 array `(upstream_images,)` of sum 1.
    """
    task = probabilities.mean(axis=0, dtype=np.float64)
    task /= task.sum()
    upstream = classes.sum(axis=0, dtype=np.float64)
    upstream /= upstream.sum()
    present = upstream > 0
    importance = np.zeros_like(task)
    importance[present] = task[present] / upstream[present]
    labels = np.maximum(classes.sum(axis=1), 1)
    weights = classes @ importance / labels
    return weights / weights.sum()
