"""A module with a new head, trained on a task as often as one likes."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_experts.checks import first_line
from keras_experts.console import say
from keras_experts.data.label_rows import LabelRows
from keras_experts.data.label_rows import Targets
from keras_experts.data.labeled_images import LabeledImages
from keras_experts.data.preprocessing import flip_and_shift
from keras_experts.data.streams import BatchPlan
from keras_experts.data.streams import Stream
from keras_experts.data.streams import stream_seed
from keras_experts.mediums import IMAGES
from keras_experts.mediums import TEXTS
from keras_experts.models.heads import add_head
from keras_experts.models.trainable import train_only
from keras_experts.saved_models import handles
from keras_experts.saved_models import keras_models
from keras_experts.saved_models.keras_files import UNIT_RANGE
from keras_experts.training import schedules
from keras_experts.training import stages
from keras_experts.training.best_state import BestState
from keras_experts.training.best_state import Validation
from keras_experts.training.distribution import on_cpu
from keras_experts.training.evaluation import Predictor
from keras_experts.training.evaluation import largest_of_first
from keras_experts.training.features import load_features
from keras_experts.training.head_only import HeadOnly
from keras_experts.training.head_only import keep
from keras_experts.training.inputs import for_module
from keras_experts.training.losses import softmax_loss
from keras_experts.training.recipe import HEAD_ONLY
from keras_experts.training.recipe import Recipe
from keras_experts.training.runtime import Runtime
from keras_experts.training.sgd import NetworkSgd
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.trainer import Trainer
from keras_experts.training.trainer import Training


class Transfer:
    """A module with a head for some classes.

    Its parts are compiled once, however often it is trained.

    Args:
        module: str. Path or URL of a reusable SavedModel; `MODULE#name` is an
            expert of a bank, which is cut out. Of texts, an encoder as in
            `preprocessor_of`. Or a Keras model of images, which stays as it
            is, or the path of its `.keras` file.
        num_classes: int.
        image_size: int. Pixels, or None for the module's own.
        runtime: Runtime.
        trust: bool. As in `HubLayer`.
        precision: str. "float32" or "bfloat16", of the computation; weights
            are float32.
        input_range: two floats. What anybody's module takes for black and
            white.

    Attributes:
        model: keras.Model from images in [0, 1], or tokens, to logits.
        inputs: Inputs.
        input_range: two floats. Values of black and white that it is fed.
        medium: str. "images" or "texts".
        predict: function of images to classes `(n,)`.
        probabilities: function of images to float32 `(n, num_classes)`.

    Raises:
        FileNotFoundError: if there is no such module.
        ValueError: if it does not give features of images or texts.
    """

    def __init__(
        self,
        module: str | keras.Model,
        num_classes: int,
        image_size: int | None = None,
        runtime: Runtime = Runtime(),
        trust: bool = False,
        precision: str = "float32",
        input_range: tuple[float, float] = UNIT_RANGE,
    ):
        metadata: dict = {}
        if keras_models.is_network(module):
            input_range = keras_models.range_of(module, input_range)
        else:
            metadata = handles.read_metadata(module)
        if metadata.get("kind") == handles.EPN:
            raise ValueError(
                "A module to fine-tune must give features. Received: "
                f"{module}, an expert prediction network."
            )
        self.inputs = for_module(module, image_size, trust)
        self.medium = self.inputs.facts.get("medium", IMAGES)
        self.input_range = input_range
        self._num_classes = num_classes
        self._strategy = runtime.make_strategy()
        self._loading = (module, trust, input_range)
        self._precision = precision
        with self._strategy.scope(), stages.precision_of(precision):
            features, compiles = load_features(*self._loading)
            self.model = _add_head(features, num_classes, module)
        if precision != "float32" and "backbone" not in metadata:
            raise ValueError(
                "Only modules of our networks can be trained in another "
                f"precision. Received: {precision!r} for {module}."
            )
        compiles = runtime.compile and compiles
        self._runtime = dataclasses.replace(runtime, compile=compiles)
        self._is_fixed = not features.trainable_variables
        if self._is_fixed:
            name = getattr(module, "name", module)
            say(f"{name} has no trainable weights: only a head is trained.")
        self._head = HeadOnly(
            features,
            self.model,
            self._strategy,
            self._runtime,
            self.inputs.plain,
        )
        self._initial = self.model.get_weights()
        self._sgd: NetworkSgd | None = None
        self._groups: tuple[str, ...] | None = None
        self._trains_head = False
        self.predict = self._predictor(largest_of_first(num_classes))
        self.probabilities = self._predictor(tf.nn.softmax)

    def _predictor(self, reduce: Callable) -> Callable:
        """Builds the function of images to a reduction of their logits."""
        setting = (self._strategy, self._runtime)
        whole = Predictor(self.model, *setting, self.inputs.plain, reduce)
        head = Predictor(self._head.model, *setting, keep, reduce)

        def predict(images: LabeledImages, title: str = "evaluation"):
            if self._trains_head:
                return head(self._head.features_of(images), title)
            return whole(images, title)

        return predict

    def restore(self, weights: list[np.ndarray]) -> None:
        """Restores weights that the whole network had before."""
        self._trains_head = False
        self.model.set_weights(weights)

    def suited(self, recipe: Recipe) -> Recipe:
        """Returns a recipe that trains no more than the module allows."""
        if not self._is_fixed:
            return recipe
        return dataclasses.replace(recipe, groups=HEAD_ONLY)

    def fit(
        self,
        images: LabeledImages,
        recipe: Recipe,
        seed: int,
        name: str,
        folder: Path | None = None,
        settings: dict | None = None,
        best: BestState | None = None,
        num_train: int | None = None,
    ) -> Training:
        """Trains the network on images, from the module's weights.

        Args:
            images: LabeledImages.
            recipe: Recipe.
            seed: int. Of the order and the augmentation.
            name: str. Of the task.
            folder: as in `Trainer.fit`, and so is `settings`.
            best: BestState that looks at the states, or None. The network
                has the last one's weights after it, not the best one's.
            num_train: int. Of the task, by which the BiT-HyperRule goes; None
                for as many as `images`.

        Raises:
            FloatingPointError: if the loss is no longer finite.
        """
        recipe = self.suited(recipe)
        number = num_train or images.num_examples
        is_text = self.medium == TEXTS
        if is_text and (recipe.flip or recipe.max_shift):
            raise ValueError(
                "Only images are flipped and shifted. "
                f"Received: flip={recipe.flip} and "
                f"max_shift={recipe.max_shift} for {name}, of texts."
            )
        num_steps, batch_size = recipe.length(number)
        rates = schedules.bit_schedule(
            number, num_steps, batch_size, recipe.base_learning_rate
        )
        plan = BatchPlan(1, num_steps, batch_size)
        options = SgdOptions(
            momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self.model.set_weights(self._initial)
        self._trains_head = recipe.is_head_only
        network = self._head.model if self._trains_head else self.model
        if not self._trains_head:
            train_only(self.model, recipe.groups)
        fits = self._sgd is not None and self._groups == recipe.groups
        if not fits or self._sgd.plan.batch_size != batch_size:
            self._groups = recipe.groups
            # Not with XLA on CPUs: gradients of its convolutions are slower
            # there than TensorFlow's (R50x1: benchmarks/fine_tuning.py), but
            # for the smallest batches, whose compiling takes what they gain.
            compiled = self._runtime.compile_replicas and not on_cpu()
            self._sgd = NetworkSgd(
                network,
                softmax_loss,
                rates,
                plan,
                self._strategy,
                options,
                compiled,
            )
        self._sgd.reset(network.get_weights())
        self._sgd.replan(rates, plan, options)
        preprocess = self._preprocess(recipe)
        # Numbers of tokens have no mean.
        mixup = 0.0 if is_text else schedules.bit_mixup(number)
        if self._trains_head:
            images = self._head.features_of(images)
            preprocess, mixup = keep, 0.0
        targets = Targets(
            LabelRows.single(images.labels), lambda c: [c], self._num_classes
        )
        trainer = Trainer(self._sgd, self._strategy, self._runtime)
        run = functools.partial(
            trainer.fit,
            [Stream(images, targets, stream_seed(seed, name))],
            preprocess,
            f"fine-tuning on {name}",
            folder,
            settings,
            mixup=mixup,
        )
        if best is None:
            return run()
        for step in best.validation.steps(num_steps):
            training = run(until=step)
            if best.look(step):
                break
        return training

    def _preprocess(self, recipe: Recipe) -> Callable:
        """Makes the function of an example and a seed."""
        if self.medium == TEXTS:
            return lambda text, seed: self.inputs.plain(text)
        return functools.partial(
            flip_and_shift,
            **self.inputs.arguments,
            flip=recipe.flip,
            max_shift=recipe.max_shift,
        )

    def best_state(
        self, validation: Validation, images: LabeledImages, folder: Path
    ) -> BestState:
        """Makes what looks at states, by images held out, for `fit`."""

        def accuracy() -> float:
            predicted = self.predict(images, "validation")
            return float(np.mean(predicted == images.labels))

        return BestState(validation, accuracy, self.model, folder)

    def float32_model(self) -> keras.Model:
        """Gives the network as it is, to be saved: computing in float32."""
        if self._precision == "float32":
            return self.model
        features, _ = load_features(*self._loading)
        model = add_head(features, self._num_classes)
        model.set_weights(self.model.get_weights())
        return model


def _add_head(features: keras.layers.Layer, num_classes: int, module: str):
    try:
        return add_head(features, num_classes)
    except Exception as error:
        raise ValueError(
            "A module to fine-tune must take float images (batch, height, "
            "width, 3) and give features (batch, channels). "
            f"Received: {module} ({first_line(error)})."
        ) from error
