"""The 19 tasks of VTAB-1k, as the benchmark's own code defines them.

Each has 800 images to train on, 200 to choose by, and a test set. The pins of
data sets are those of task_adaptation, save that of the pets, of which TFDS
4.9.10 has version 4 alone. KITTI is 3.1.0, as there.

References:
    Zhai et al., "A Large-scale Study of Representation Learning with the
    Visual Task Adaptation Benchmark" (2019); task_adaptation/data/*.py.
"""

import dataclasses
import io
from collections.abc import Callable
from collections.abc import Mapping

import numpy as np

from keras_experts.data import tfds_reader
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.labeled_images import join
from keras_experts.data.tasks import Task

NATURAL, SPECIALISED, STRUCTURED = "natural", "specialised", "structured"
TRAIN = "train[:800]"

CLEVR_DISTANCES = (0, 8, 8.5, 9, 9.5, 10, 100)
KITTI_DISTANCES = (-100, 8, 20, 999)
KITTI_VEHICLES = 3  # types below: car, van, truck
NO_VEHICLE = 1000.0
FEWEST_OBJECTS = 3
DSPRITES_BINS = 16

Columns = Mapping[str, LabelRows]


@dataclasses.dataclass(frozen=True)
class LabelRule:
    """How the label follows from features of an example.

    Attributes:
        features: names as in the files.
        labels: function of the features' rows to labels, int `(n,)`.
        class_names: of the labels; None where they are the feature's own.
    """

    features: tuple[str, ...]
    labels: Callable[[Columns], np.ndarray]
    class_names: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class VtabTask:
    """One of the tasks.

    Attributes:
        name: str.
        group: str. "natural", "specialised" or "structured".
        dataset: str. Name and version of the TFDS data set.
        num_classes: int.
        validation: str. The split of the 200 images to choose by.
        test: str. The split of the test images.
        rule: LabelRule.
        brightness: int. What pixels are multiplied with.
    """

    name: str
    group: str
    dataset: str
    num_classes: int
    validation: str
    test: str
    rule: LabelRule
    brightness: int = 1

    def load(self, data_dir: str | None, final: bool) -> Task:
        """Opens the task.

        Args:
            data_dir: str. The folder of TFDS data sets, or None.
            final: bool. With True training is on all 1,000 images and the
                test images are read; with False on 800, and the other 200
                stand for the test images, of which nothing is read.

        Raises:
            FileNotFoundError: if the data set is not there.
            ValueError: if it is another one than the benchmark's.
        """
        builder = tfds_reader.prepared_builder(self.dataset, data_dir)
        train = self._read(builder, TRAIN)
        validation = self._read(builder, self.validation)
        if not final:
            return Task(self.name, train, validation)
        test = self._read(builder, self.test)
        return Task(self.name, join([train, validation]), test)

    def _read(self, builder, split: str) -> LabeledImages:
        index = tfds_reader.index_features(builder, split, self.rule.features)
        labels = self.rule.labels(index.labels).astype(np.int64)
        names = self.rule.class_names
        if names is None:
            names = tfds_reader.class_names(builder, self.rule.features[0])
        if len(names) != self.num_classes:
            raise ValueError(
                f"{self.name} of VTAB has {self.num_classes} classes. "
                f"Received: {builder.info.full_name} with {len(names)}."
            )
        read = tfds_reader.RecordReader(index)
        if self.brightness != 1:
            read = _brightened(read, self.brightness)
        return LabeledImages(read, labels, list(names), name=index.name_of)


def _given(feature: str = "label") -> LabelRule:
    return LabelRule((feature,), lambda columns: columns[feature].values)


def _binned(feature: str, num_values: int) -> LabelRule:
    """A value's place among 16 equal parts of all values."""

    def labels(columns: Columns) -> np.ndarray:
        values = columns[feature].values
        return np.floor(values / (num_values / DSPRITES_BINS))

    names = tuple(map(str, range(DSPRITES_BINS)))
    return LabelRule((feature,), labels, names)


def _count_objects(columns: Columns) -> np.ndarray:
    return columns["objects/size"].lengths - FEWEST_OBJECTS


def _clevr_distance(columns: Columns) -> np.ndarray:
    points = columns["objects/pixel_coords"]
    return _between(
        CLEVR_DISTANCES,
        [points.row(i).reshape(-1, 3)[:, 2].min() for i in range(len(points))],
    )


def _kitti_distance(columns: Columns) -> np.ndarray:
    types, places = columns["objects/type"], columns["objects/location"]
    distances = []
    for image in range(len(types)):
        depths = places.row(image).reshape(-1, 3)[:, 2]
        vehicles = depths[types.row(image) < KITTI_VEHICLES]
        distances.append(vehicles.min(initial=NO_VEHICLE))
    return _between(KITTI_DISTANCES, distances)


def _between(thresholds: tuple[float, ...], values) -> np.ndarray:
    """Gives the place of the largest threshold below each value."""
    return np.searchsorted(thresholds, values, side="left") - 1


def _ranges(thresholds: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(
        f"{low} to {high}"
        for low, high in zip(thresholds, thresholds[1:], strict=False)
    )


def _brightened(read: Callable, factor: int) -> Callable:
    """Decodes the images, and multiplies their pixels."""
    from PIL import Image

    def bright(indices: np.ndarray) -> np.ndarray:
        images = [
            np.asarray(Image.open(io.BytesIO(content)).convert("L"))
            for content in read(indices)
        ]
        return np.stack([np.stack([i * factor] * 3, axis=-1) for i in images])

    return bright


def _task(
    name: str,
    group: str,
    dataset: str,
    num_classes: int,
    validation: str = "validation[:200]",
    test: str = "test",
    rule: LabelRule | None = None,
    brightness: int = 1,
) -> VtabTask:
    return VtabTask(
        name,
        group,
        dataset,
        num_classes,
        validation,
        test,
        rule or _given(),
        brightness,
    )


_COUNT = LabelRule(
    ("objects/size",), _count_objects, tuple(map(str, range(3, 11)))
)
_CLEVR = LabelRule(
    ("objects/pixel_coords",), _clevr_distance, _ranges(CLEVR_DISTANCES)
)
_KITTI = LabelRule(
    ("objects/type", "objects/location"),
    _kitti_distance,
    (*_ranges(KITTI_DISTANCES), "none"),
)
_SPRITES = ("dsprites:2.*.*", DSPRITES_BINS, "train[589824:590024]")
_NORB = ("test[:200]", "test[50%:]")

TASKS = {
    task.name: task
    for task in (
        _task(
            "caltech101", NATURAL, "caltech101:3.*.*", 102, "train[2754:2954]"
        ),
        _task("cifar100", NATURAL, "cifar100:3.*.*", 100, "train[45000:45200]"),
        _task("dtd", NATURAL, "dtd:3.*.*", 47),
        _task("flowers102", NATURAL, "oxford_flowers102:2.*.*", 102),
        _task("pets", NATURAL, "oxford_iiit_pet:4.*.*", 37, "train[2944:3144]"),
        _task("sun397", NATURAL, "sun397/tfds:4.*.*", 397),
        _task("svhn", NATURAL, "svhn_cropped:3.*.*", 10, "train[65931:66131]"),
        _task("camelyon", SPECIALISED, "patch_camelyon:2.*.*", 2),
        _task(
            *("eurosat", SPECIALISED, "eurosat/rgb:2.*.*", 10),
            *("train[16200:16400]", "train[21600:]"),
        ),
        _task(
            *("resisc45", SPECIALISED, "resisc45:3.*.*", 45),
            *("train[18900:19100]", "train[25200:]"),
        ),
        _task(
            "retinopathy",
            SPECIALISED,
            "diabetic_retinopathy_detection/btgraham-300:3.*.*",
            5,
        ),
        _task(
            *("clevr_count", STRUCTURED, "clevr:3.*.*", 8),
            *("train[63000:63200]", "validation", _COUNT),
        ),
        _task(
            *("clevr_distance", STRUCTURED, "clevr:3.*.*", 6),
            *("train[63000:63200]", "validation", _CLEVR),
        ),
        _task("dmlab", STRUCTURED, "dmlab:2.0.1", 6),
        _task(
            *("kitti_distance", STRUCTURED, "kitti:3.1.0", 4),
            rule=_KITTI,
        ),
        _task(
            *("dsprites_location", STRUCTURED, *_SPRITES, "train[663552:]"),
            *(_binned("label_x_position", 32), 255),
        ),
        _task(
            *("dsprites_orientation", STRUCTURED, *_SPRITES, "train[663552:]"),
            *(_binned("label_orientation", 40), 255),
        ),
        _task(
            *("smallnorb_azimuth", STRUCTURED, "smallnorb:2.*.*", 18, *_NORB),
            _given("label_azimuth"),
        ),
        _task(
            *("smallnorb_elevation", STRUCTURED, "smallnorb:2.*.*", 9, *_NORB),
            _given("label_elevation"),
        ),
    )
}
