"""VTAB's tasks on data with the sizes and features of the real sets.

Of each split only the shards that the task reads are there, with a few random
examples each: the benchmark's sizes stand in the sets' descriptions.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_experts.data import tfds_reader
from keras_experts.data import vtab

WRITTEN = 12
READ = {"train": 800, "validation": 200}
SHARDS = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
# Of each task: splits as they are in TFDS; classes; the sizes that the
# benchmark calls train, val and test; where the 200 and the test set lie.
NUMBERS = {
    "caltech101": (
        *({"train": 3060, "test": 6084}, 102, (2754, 306, 6084)),
        *(("train", 2754), ("test", 0)),
    ),
    "cifar100": (
        *({"train": 50000, "test": 10000}, 100, (45000, 5000, 10000)),
        *(("train", 45000), ("test", 0)),
    ),
    "dtd": (
        {"train": 1880, "validation": 1880, "test": 1880},
        *(47, (1880, 1880, 1880), ("validation", 0), ("test", 0)),
    ),
    "flowers102": (
        {"train": 1020, "validation": 1020, "test": 6149},
        *(102, (1020, 1020, 6149), ("validation", 0), ("test", 0)),
    ),
    "pets": (
        *({"train": 3680, "test": 3669}, 37, (2944, 736, 3669)),
        *(("train", 2944), ("test", 0)),
    ),
    "sun397": (
        {"train": 76128, "validation": 10875, "test": 21750},
        *(397, (76128, 10875, 21750), ("validation", 0), ("test", 0)),
    ),
    "svhn": (
        {"train": 73257, "test": 26032, "extra": 531131},
        *(10, (65931, 7326, 26032), ("train", 65931), ("test", 0)),
    ),
    "camelyon": (
        {"train": 262144, "validation": 32768, "test": 32768},
        *(2, (262144, 32768, 32768), ("validation", 0), ("test", 0)),
    ),
    "eurosat": (
        *({"train": 27000}, 10, (16200, 5400, 5400)),
        *(("train", 16200), ("train", 21600)),
    ),
    "resisc45": (
        *({"train": 31500}, 45, (18900, 6300, 6300)),
        *(("train", 18900), ("train", 25200)),
    ),
    "retinopathy": (
        {"train": 35126, "validation": 10906, "test": 42670},
        *(5, (35126, 10906, 42670), ("validation", 0), ("test", 0)),
    ),
    "clevr_count": (
        {"train": 70000, "validation": 15000, "test": 15000},
        *(8, (63000, 7000, 15000), ("train", 63000), ("validation", 0)),
    ),
    "clevr_distance": (
        {"train": 70000, "validation": 15000, "test": 15000},
        *(6, (63000, 7000, 15000), ("train", 63000), ("validation", 0)),
    ),
    "dmlab": (
        {"train": 65550, "validation": 22628, "test": 22735},
        *(6, (65550, 22628, 22735), ("validation", 0), ("test", 0)),
    ),
    "kitti_distance": (
        {"train": 6347, "validation": 423, "test": 711},
        *(4, (6347, 423, 711), ("validation", 0), ("test", 0)),
    ),
    "dsprites_location": (
        *({"train": 737280}, 16, (589824, 73728, 73728)),
        *(("train", 589824), ("train", 663552)),
    ),
    "dsprites_orientation": (
        *({"train": 737280}, 16, (589824, 73728, 73728)),
        *(("train", 589824), ("train", 663552)),
    ),
    "smallnorb_azimuth": (
        *({"train": 24300, "test": 24300}, 18, (24300, 12150, 12150)),
        *(("test", 0), ("test", 12150)),
    ),
    "smallnorb_elevation": (
        *({"train": 24300, "test": 24300}, 9, (24300, 12150, 12150)),
        *(("test", 0), ("test", 12150)),
    ),
}
GROUPS = {vtab.NATURAL: 7, vtab.SPECIALISED: 4, vtab.STRUCTURED: 8}


def test_vtab_has_seven_natural_four_specialised_eight_structured_tasks():
    assert list(vtab.TASKS) == list(NUMBERS)
    groups = [task.group for task in vtab.TASKS.values()]
    assert {group: groups.count(group) for group in groups} == GROUPS


@pytest.mark.parametrize("name", NUMBERS)
def test_sizes_and_labels_are_the_benchmark_s(name, tmp_path):
    sizes, classes, (train, val, test), place, test_place = NUMBERS[name]
    task = vtab.TASKS[name]
    examples = write(task.dataset, sizes, place, test_place, tmp_path)
    assert task.num_classes == classes
    splits = tfds_reader.prepared_builder(task.dataset, str(tmp_path))
    splits = splits.info.splits
    assert splits[vtab.TRAIN].num_examples == 800
    assert splits[task.validation].num_examples == 200
    assert splits[task.test].num_examples == test
    # The 200 are the first of what the benchmark calls val.
    assert place[1] in (train, 0) and val >= 200
    tuning = task.load(str(tmp_path), final=False)
    final = task.load(str(tmp_path), final=True)
    parts = {
        "train": tuning.train,
        "validation": tuning.test,
        "test": final.test,
    }
    for part, images in parts.items():
        expected = [label_of(name, e) for e in examples[part]]
        assert images.labels.tolist() == expected
        assert images.class_names == final.class_names
        assert len(images.class_names) == classes
    joined = [*tuning.train.labels, *tuning.test.labels]
    assert final.train.labels.tolist() == joined


def test_tuning_reads_no_test_image(tmp_path):
    """The files of the test set are not even there."""
    sizes, _, _, place, test_place = NUMBERS["caltech101"]
    write("caltech101:3.*.*", sizes, place, test_place, tmp_path)
    for path in tmp_path.rglob("*-test*tfrecord*"):
        path.unlink()
    task = vtab.TASKS["caltech101"]
    assert task.load(str(tmp_path), final=False).test.num_examples == WRITTEN
    with pytest.raises(OSError):
        task.load(str(tmp_path), final=True)


def test_sprites_are_white_and_have_three_channels(tmp_path):
    sizes, _, _, place, test_place = NUMBERS["dsprites_location"]
    examples = write("dsprites:2.*.*", sizes, place, test_place, tmp_path)
    task = vtab.TASKS["dsprites_location"].load(str(tmp_path), final=False)
    read = task.train.read(np.arange(3))
    expected = [np.tile(e["image"] * 255, 3) for e in examples["train"][:3]]
    np.testing.assert_array_equal(read, expected)
    assert set(np.unique(read)) == {0, 255}


def sprite(center, angle):
    """Draws a narrow triangle on 64 pixels: its centroid, where it points."""
    rows, columns = np.mgrid[:64, :64]
    x, y = columns - center[0], rows - center[1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    # From 7 behind the centroid to 14 before it, as a triangle's lies.
    inside = (along > -7) & (across < 4 * (14 - along) / 21)
    return inside.astype(np.uint8)[..., None]


def draw_sprite(features, rng):
    """An example as dSprites has them: what is drawn, and where."""
    example = draw(features, rng)
    # 40 angles in [0, 2 pi], the last one of which is the first.
    x, turn = int(rng.integers(32)), int(rng.integers(39))
    center = (16 + 32 * x / 31, rng.uniform(20, 44))
    image = sprite(center, 2 * np.pi * turn / 39)
    found = {"label_x_position": x, "label_orientation": turn}
    return {**example, **found, "image": image}


@pytest.mark.parametrize("name", ["dsprites_location", "dsprites_orientation"])
def test_labels_of_sprites_are_what_the_images_show(name, tmp_path):
    """Where a drawn sprite is, and where it points, measured in its pixels."""
    sizes, _, _, place, test_place = NUMBERS[name]
    write("dsprites:2.*.*", sizes, place, test_place, tmp_path, draw_sprite)
    task = vtab.TASKS[name].load(str(tmp_path), final=False)
    found = []
    for image in task.train.read(np.arange(WRITTEN)):
        rows, columns = np.nonzero(image[..., 0])
        x, y = columns - columns.mean(), rows - rows.mean()
        tip = np.argmax(x**2 + y**2)
        turns = np.arctan2(y[tip], x[tip]) / (2 * np.pi) * 39
        if name == "dsprites_location":  # 16 bins of 32 places
            found.append(round((columns.mean() - 16) * 31 / 32) // 2)
        else:  # and of 40 angles
            found.append(int(round(turns) % 39 / 2.5))
    assert found == task.train.labels.tolist()
    assert len(set(found)) > 4


def test_set_with_other_classes_is_refused(tmp_path):
    sizes, _, _, place, test_place = NUMBERS["caltech101"]
    write("caltech101:3.*.*", sizes, place, test_place, tmp_path)
    other = vtab.VtabTask(
        "pets",
        vtab.NATURAL,
        "caltech101:3.*.*",
        37,
        *("train[2754:2954]",) * 2,
        vtab.TASKS["pets"].rule,
    )
    with pytest.raises(ValueError, match="pets of VTAB has 37 classes"):
        other.load(str(tmp_path), final=False)


def label_of(name, example):
    """The label by the benchmark's rules, one example at a time."""
    objects = example.get("objects")
    if name == "clevr_count":
        return len(objects["size"]) - 3
    if name == "clevr_distance":
        nearest = min(point[2] for point in objects["pixel_coords"])
        limits = [0, 8, 8.5, 9, 9.5, 10, 100]
        return max(i for i in range(7) if limits[i] < nearest)
    if name == "kitti_distance":
        pairs = zip(objects["type"], objects["location"], strict=True)
        near = min([1000.0, *(float(p[2]) for t, p in pairs if t < 3)])
        return max(i for i in range(4) if [-100, 8, 20, 999][i] < near)
    if name == "dsprites_location":
        return example["label_x_position"] // 2
    if name == "dsprites_orientation":
        return int(example["label_orientation"] / 2.5)
    key = {"smallnorb_azimuth": "label_azimuth"}.get(name, "label")
    key = {"smallnorb_elevation": "label_elevation"}.get(name, key)
    return example[key]


def write(dataset, sizes, place, test_place, folder, draw_one=None):
    """Writes the shards that a task reads, and tells of the others."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(dataset, data_dir=str(folder), try_gcs=False)
    features = builder.info.features
    serializer = tfds.core.example_serializer.ExampleSerializer(
        features.get_serialized_info()
    )
    root = builder.data_path
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    starts = {"train": ("train", 0), "validation": place, "test": test_place}
    found, splits = {}, []
    for split, size in sizes.items():
        own = {part: at for part, (s, at) in starts.items() if s == split}
        sides = {at + READ.get(part, 0) for part, at in own.items()}
        cuts = sorted({0, size, *own.values(), *sides})
        lengths = np.diff(cuts).tolist()
        for part, at in own.items():
            shard = cuts.index(at)
            draw_one = draw_one or draw
            found[part] = [draw_one(features, rng) for _ in range(WRITTEN)]
            which = f"{shard:05}-of-{len(lengths):05}"
            name = f"{builder.name}-{split}.tfrecord-{which}"
            with tf.io.TFRecordWriter(str(root / name)) as writer:
                for example in found[part]:
                    content = features.encode_example(example)
                    writer.write(serializer.serialize_example(content))
        splits.append(
            {
                "name": split,
                "shardLengths": [str(length) for length in lengths],
                "numBytes": "1",
                "filepathTemplate": SHARDS,
            }
        )
    features.save_config(root)
    info = {
        "name": builder.name,
        "version": str(builder.version),
        "fileFormat": "tfrecord",
        "splits": splits,
    }
    (root / "dataset_info.json").write_text(json.dumps(info))
    return found


def draw(features, rng):
    """Draws an example that the features describe."""
    import tensorflow_datasets as tfds

    example = {}
    for key, feature in features.items():
        if isinstance(feature, tfds.features.ClassLabel):
            example[key] = int(rng.integers(feature.num_classes))
        elif isinstance(feature, tfds.features.Image):
            high = 2 if "label_x_position" in features else 256
            shape = [side or 8 for side in feature.shape]
            example[key] = rng.integers(0, high, shape).astype(np.uint8)
        elif isinstance(feature, tfds.features.BBoxFeature):
            example[key] = tfds.features.BBox(0.1, 0.1, 0.9, 0.9)
        elif isinstance(feature, tfds.features.Text):
            example[key] = "drawn"
        elif isinstance(feature, tfds.features.Sequence):
            number = int(rng.integers(3, 11))
            rows = [draw(feature.feature, rng) for _ in range(number)]
            example[key] = {k: [row[k] for row in rows] for k in rows[0]}
        else:
            low, high = (-5, 40) if key == "location" else (7.0, 11.0)
            values = rng.uniform(low, high, feature.shape)
            example[key] = values.astype(feature.np_dtype)
    return example
