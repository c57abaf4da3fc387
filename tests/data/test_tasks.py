import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_experts.data import synthetic
from keras_experts.data.preprocessing import resize
from keras_experts.data.tasks import load_task
from keras_experts.data.tasks import split_by_hash


def contents(images):
    read = images.read(np.arange(images.num_examples))
    return list(zip(read, images.labels.tolist(), strict=True))


def test_folder_is_split_by_content(image_folder):
    task = load_task(image_folder)
    assert task.class_names == ["cat", "dog", "fish"]
    assert task.train.num_examples + task.test.num_examples == 30
    train = {content for content, _ in contents(task.train)}
    assert not train & {content for content, _ in contents(task.test)}


def test_file_keeps_its_side_when_others_are_added():
    few = [str(i).encode() for i in range(50)]
    many = [str(i).encode() for i in range(500)]
    sides = [{many[i] for i in split_by_hash(c)[1]} for c in (few, many)]
    assert sides[0] == sides[1] & set(few)
    assert 60 < len(sides[1]) < 140  # a fifth


def test_first_images_of_a_folder_are_of_all_classes(image_folder):
    labels = load_task(image_folder, num_examples=12).train.labels
    assert len(labels) == 12
    assert set(labels) == {0, 1, 2}


def test_train_and_test_folders_are_taken(image_folder, tmp_path):
    (tmp_path / "train").symlink_to(image_folder)
    (tmp_path / "test").symlink_to(image_folder)
    task = load_task(tmp_path)
    assert task.train.num_examples == task.test.num_examples == 30


def test_arrays_of_a_file_are_a_task(tmp_path, rng):
    images = rng.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    labels = np.tile([3, 7], 20)
    np.savez(tmp_path / "t.npz", images=images, labels=labels)
    task = load_task(tmp_path / "t.npz")
    assert task.class_names == ["3", "7"]
    originals = {image.tobytes(): label for image, label in zip(images, labels)}
    for image, label in contents(task.train) + contents(task.test):
        assert originals[image[..., 0].tobytes()] == (3, 7)[label]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 8, 8, 3)), np.zeros(4, int), "must be uint8"),
        (np.zeros((4, 8), np.uint8), np.zeros(4, int), "must have shape"),
        (np.zeros((4, 8, 8), np.uint8), np.zeros(3, int), "same length"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, images, labels, message):
    np.savez(tmp_path / "t.npz", images=images, labels=labels)
    with pytest.raises(ValueError, match=message):
        load_task(tmp_path / "t.npz")


def test_image_keeps_its_pixels_and_its_range(image_folder):
    path = next(image_folder.rglob("*.png"))
    pixels = np.asarray(Image.open(path).resize((10, 10)).convert("RGB"))
    Image.fromarray(pixels).save(image_folder.parent / "square.png")
    content = (image_folder.parent / "square.png").read_bytes()
    image = resize(tf.constant(content), 10).numpy()
    np.testing.assert_array_equal(image, pixels.astype(np.float32) / 255)


def test_scaling_is_bilinear(rng):
    pixels = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = resize(tf.constant(pixels), 2).numpy()
    # Half size: each pixel is the mean of four.
    expected = pixels.reshape(2, 2, 2, 2, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_rendered_sets_follow_from_the_seed():
    sets = [synthetic.count_task(5, 5, 12, seed) for seed in (0, 0, 1)]
    first, again, other = (
        np.stack([image for image, _ in contents(task.train)]) for task in sets
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rendered_hierarchy_has_three_levels_and_twenty_classes():
    hierarchy = synthetic.make_hierarchy()
    assert len(synthetic.CLASSES) >= 20
    depths = [len(hierarchy.ancestors(name)) for name in synthetic.CLASSES]
    assert min(depths) >= 3


def test_real_sets_are_read(data_dir):
    task = load_task("flowers5", data_dir, 50)
    assert (task.train.num_examples, task.test.num_examples) == (50, 1079)
    assert len(task.class_names) == 5


def test_first_images_of_many_shards_are_those_of_the_first(tmp_path):
    import tensorflow_datasets as tfds

    images = np.arange(200, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (200, 4, 4, 3))

    def split(number):
        columns = {"image": images[:number], "label": np.arange(number) % 2}
        return tf.data.Dataset.from_tensor_slices(columns)

    tfds.dataset_builders.store_as_tfds_dataset(
        name="many",
        version="1.0.0",
        data_dir=str(tmp_path),
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(4, 4, 3)),
                "label": tfds.features.ClassLabel(names=["a", "b"]),
            }
        ),
        split_datasets={"train": split(200), "test": split(4)},
        download_config=tfds.download.DownloadConfig(num_shards=4),
        disable_shuffling=True,
    )
    assert len(list(tmp_path.rglob("many-train*"))) == 4
    task = load_task("many", str(tmp_path), 60)
    pixels = [
        int(resize(tf.constant(image), 4)[0, 0, 0] * 255 + 0.5)
        for image, _ in contents(task.train)
    ]
    assert pixels == list(range(60))
