"""Upstream images drawn for a task."""

import numpy as np
import pytest

from keras_experts import config
from keras_experts import files
from keras_experts.data import synthetic
from keras_experts.models import run_folder
from keras_experts.training.domain_adaptive import domain_adaptive_slices
from keras_experts.training.domain_adaptive import image_weights
from keras_experts.training.experts import train_experts


def test_weights_are_the_ratio_of_the_labels_frequencies(rng):
    """A double loop over images and labels says the same."""
    classes = (rng.random((40, 7)) < 0.3).astype(np.float32)
    classes[0] = 0  # an image without a label is never drawn
    classes[:, 6] = 0  # a label without an image
    probabilities = rng.dirichlet(np.ones(7), 25)
    expected = np.zeros(40)
    for image in range(40):
        labels = [c for c in range(7) if classes[image, c]]
        for label in labels:
            task = np.mean([row[label] for row in probabilities])
            upstream = classes[:, label].sum() / classes.sum()
            expected[image] += task / upstream / len(labels)
    found = image_weights(probabilities, classes)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-6)
    assert found[0] == 0


def test_draws_follow_what_the_baseline_sees(run_dir, image_folder, tmp_path):
    data = synthetic.synthetic_upstream(6, 1, 8)
    classifier, metadata = run_folder.load_baseline(run_dir)
    head = run_folder.head_of(classifier, metadata)
    wanted = 3
    direction = np.asarray(head.kernel[:, wanted], np.float64)
    strong = 1e3 * direction / np.square(direction).sum()

    def features(images):
        return np.tile(strong, (images.num_examples, 1))

    (part,) = domain_adaptive_slices(
        data,
        run_dir,
        features,
        tasks=[str(image_folder)],
        num_images=5000,
    )
    assert part.name == f"dat_{image_folder.name}"
    assert len(part.train) == 5000 and part.synset is None
    seen = head.probabilities(features(data.train))[0]
    counts = np.bincount(data.train.labels[part.train], minlength=34)
    # Equal classes upstream: drawn as often as the baseline sees them.
    shares = seen[: len(data.classes)] / seen[: len(data.classes)].sum()
    np.testing.assert_allclose(counts / 5000, shares, atol=0.03)


def test_task_is_wanted(run_dir):
    data = synthetic.synthetic_upstream(2, 1, 8)
    with pytest.raises(ValueError, match="needs a task"):
        domain_adaptive_slices(data, run_dir, None)


@pytest.mark.slow
def test_expert_of_a_task_trains_as_a_stage(run_dir, image_folder, tmp_path):
    import shutil

    shutil.copytree(run_dir, tmp_path / "run")
    config.parse(
        ["stages/demo_experts.gin"],
        [
            "import keras_experts.training.domain_adaptive",
            'KIND = "full"',
            "NUM_STEPS = 2",
            "BATCH_SIZE = 8",
            "cosine_schedule.warmup_steps = 0",
            "synthetic_upstream.num_train = 2",
            "synthetic_upstream.num_test = 1",
            "Runtime.compile = False",
            "train_experts.slices = @domain_adaptive_slices",
            f'domain_adaptive_slices.tasks = ["{image_folder}"]',
        ],
    )
    (metadata,) = train_experts(tmp_path / "run")
    name = f"dat_{image_folder.name}"
    assert metadata["name"] == name and metadata["kind"] == "full"
    folder = tmp_path / "run" / "experts" / "full" / name
    assert files.read_json(folder / "metadata.json") == metadata
