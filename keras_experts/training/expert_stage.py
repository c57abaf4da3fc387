"""What training an expert needs, and what it leaves."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.streams import Stream
from keras_experts.data.streams import stream_seed
from keras_experts.data.upstream import Upstream
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.saved_models.upstream_labels import label_prior
from keras_experts.training import distribution
from keras_experts.training import stages
from keras_experts.training.evaluation import Predictor
from keras_experts.training.evaluation import hits
from keras_experts.training.evaluation import largest_of_first
from keras_experts.training.inputs import Inputs
from keras_experts.training.runtime import Runtime
from keras_experts.training.samples import write_samples
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.slices import Slice
from keras_experts.training.trainer import Training


@dataclasses.dataclass
class ExpertStage:
    """What training an expert needs, made once for all of them.

    Attributes:
        folder: Path. `experts/KIND` of the run.
        workdir: Path. Folder of the run.
        data: Upstream.
        baseline: dict. The baseline's metadata.
        classifier: keras.Model. The baseline.
        targets: Targets of the training images.
        example_loss: function of targets and logits to losses `(batch,)`.
        inputs: Inputs.
        augmentation: function of `(image, seed)` and what inputs give it.
        learning_rates: float array `(num_steps,)`.
        batch_size: int. Images an update.
        options: SgdOptions.
        strategy: tf.distribute.Strategy.
        runtime: Runtime.
        precision: str.
        seed: int.
        settings: dict. What the experts are made with.
    """

    folder: Path
    workdir: Path
    data: Upstream
    baseline: dict
    classifier: keras.Model
    targets: Targets
    example_loss: Callable
    inputs: Inputs
    augmentation: Callable
    learning_rates: np.ndarray
    batch_size: int
    options: SgdOptions
    strategy: tf.distribute.Strategy
    runtime: Runtime
    precision: str
    seed: int
    settings: dict

    def stream(self, part: Slice) -> Stream:
        """Gives an expert's images, in an order of its own."""
        seed = stream_seed(self.seed, part.name)
        return Stream(self.data.train, self.targets, seed, part.train)

    def predictor(self, model: keras.Model) -> Predictor:
        """Makes what predicts classes with a network."""
        return Predictor(
            model,
            self.strategy,
            self.runtime,
            self.inputs.plain,
            largest_of_first(len(self.data.classes)),
        )

    def baseline_features(self, images: LabeledImages) -> np.ndarray:
        """Runs the baseline without its head: `(images, channels)`."""
        predictor = Predictor(
            self.classifier.get_layer(heads.FEATURES_NAME),
            self.strategy,
            self.runtime,
            self.inputs.plain,
        )
        return predictor(images, "baseline's features")

    @property
    def preprocess(self) -> Callable:
        """Function of an example and a seed to what the network takes."""
        return self.inputs.augmented(self.augmentation)

    @functools.cached_property
    def baseline_hits(self) -> np.ndarray:
        """Which test images the baseline classifies right, bool."""
        predicted = self.predictor(self.classifier)(self.data.test)
        return hits(predicted, self.data.class_targets(self.data.test))

    @functools.cached_property
    def upstream_prior(self) -> np.ndarray:
        """How often each output is one in all training images."""
        return self.targets.mean()

    def settings_of(self, part: Slice) -> dict:
        """Returns all that one expert follows from."""
        return {
            **self.settings,
            "synset": part.synset,
            "num_images": len(part.train),
            "num_test_images": len(part.test),
        }

    def write(
        self,
        part: Slice,
        training: Training,
        final_loss: float | None,
        predictor: Predictor,
        save: Callable[[Path], None],
        seconds: float,
    ) -> None:
        """Evaluates an expert and writes what it is."""
        directory = self.folder / part.name
        before = after = None
        if len(part.test):
            images = self.data.test.subset(part.test)
            right = hits(predictor(images), self.data.class_targets(images))
            after = float(right.mean())
            before = float(self.baseline_hits[part.test].mean())
        metadata = {
            "name": part.name,
            "kind": self.settings["kind"],
            "dataset": self.data.name,
            "synset": part.synset,
            "num_images": len(part.train),
            "num_classes": self._num_classes(part),
            **self.inputs.facts,
            "num_steps": len(self.learning_rates),
            "batch_size": self.batch_size,
            "bottleneck_ratio": self.settings["bottleneck_ratio"],
            "final_loss": final_loss,
            "slice_top1": after,
            "slice_top1_baseline": before,
            **stages.speed(training),
            "seconds": round(seconds, 1),
            "settings": self.settings_of(part),
        }
        if distribution.is_chief(self.strategy):
            own = self.targets.mean(part.train)
            prior = label_prior(own, self.upstream_prior)
            run_folder.save_label_prior(prior, directory)
            write_samples(self.data.test, part.test, directory)
            save(directory)
        stages.finish(directory, metadata, self.strategy)

    def _num_classes(self, part: Slice) -> int:
        """Counts the classes among an expert's training images."""
        shares = self.data.class_targets(self.data.train).mean(part.train)
        return int((shares > 0).sum())
