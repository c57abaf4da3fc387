"""The training loop: SGD with momentum on whatever tf.distribute spans.

One step has three parts. Loss and gradients are local to a replica and
compile with XLA; the sum over replicas and the update stay outside, since
collectives on CPUs do not compile. The optimiser is here, and not Keras',
because Keras clips each replica's gradients before it sums them.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_experts.console import progress

CHECKPOINT_SECONDS = 120


class Trainer:
    """Trains the trainable variables of a model.

    Args:
        model: keras.Model from float images, values in [0, 1], to logits;
            made in the strategy's scope.
        example_loss: function of a batch's targets and logits to losses
            `(batch,)`.
        learning_rates: float array `(num_steps,)`, one rate a step.
        batch_size: int. Examples a step, over all replicas.
        strategy: tf.distribute.Strategy.
        momentum: float. In [0, 1).
        clip_norm: float. Largest norm of all gradients together, or None.
        compile: bool. Whether to compile with XLA.

    Attributes:
        model: the keras.Model that is trained.
        step: tf.Variable. Updates done.
    """

    def __init__(
        self,
        model: keras.Model,
        example_loss: Callable,
        learning_rates: np.ndarray,
        batch_size: int,
        strategy: tf.distribute.Strategy,
        momentum: float = 0.9,
        clip_norm: float | None = None,
        compile: bool = True,
    ):
        replicas = strategy.num_replicas_in_sync
        if batch_size < 1 or batch_size % replicas:
            raise ValueError(
                "`batch_size` must be a multiple of the number of replicas. "
                f"Received: {batch_size} for {replicas} replicas."
            )
        self.strategy = strategy
        self.batch_size = batch_size
        self.num_steps = len(learning_rates)
        self.momentum = momentum
        self.clip_norm = clip_norm
        self._example_loss = example_loss
        self._learning_rates = tf.constant(learning_rates, tf.float32)
        self.model = model
        self.variables = [
            variable.value for variable in model.trainable_variables
        ]
        # In the scope: each replica has its own copy beside its variable.
        with strategy.scope():
            self._velocities = [
                tf.Variable(tf.zeros_like(variable), trainable=False)
                for variable in self.variables
            ]
            self.step = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._compiled = tf.function(self._gradients, jit_compile=compile)
        self._forward = tf.function(
            lambda images: self.model(images, training=False),
            jit_compile=compile,
        )

    def fit(
        self,
        make_dataset: Callable[[int], tf.data.Dataset],
        title: str = "training",
        checkpoints: Path | None = None,
        steps_per_loop: int = 10,
    ) -> list[float]:
        """Runs the steps that are left.

        Args:
            make_dataset: function of the first step to a dataset of dicts
                `image` and `target` that has no end.
            title: str. What the progress bar says.
            checkpoints: folder to resume from and to save to, or None.
            steps_per_loop: int. Steps between two looks at the loss.

        Returns:
            Mean loss of each loop that was run.

        Raises:
            FloatingPointError: if the loss is no longer finite.
        """
        manager = None
        if checkpoints is not None:
            manager = self._restore(checkpoints)
        start = int(self.step.read_value())
        losses = []
        if start >= self.num_steps:
            return losses
        dataset = self.strategy.experimental_distribute_dataset(
            make_dataset(start)
        )
        iterator = iter(dataset)
        saved = time.monotonic()
        with progress(title, self.num_steps, start) as bar:
            for first in range(start, self.num_steps, steps_per_loop):
                number = min(steps_per_loop, self.num_steps - first)
                loss = float(self._train_steps(iterator, tf.constant(number)))
                if not math.isfinite(loss):
                    raise FloatingPointError(
                        "The loss must stay finite; try a lower learning "
                        f"rate. Received: {loss} at step {first + number} of "
                        f"{title}, rate {self._learning_rates[first]:.2g}."
                    )
                losses.append(loss)
                bar.advance(number, f"loss {loss:.3f}")
                now = time.monotonic()
                if manager and now - saved > CHECKPOINT_SECONDS:
                    manager.save(checkpoint_number=first + number)
                    saved = now
        return losses

    def reset(self, weights: list[np.ndarray]) -> None:
        """Starts anew from given weights, without compiling again."""
        self.model.set_weights(weights)
        for velocity in self._velocities:
            velocity.assign(tf.zeros_like(velocity))
        self.step.assign(0)

    def predict(self, dataset: tf.data.Dataset, title: str) -> np.ndarray:
        """Gives the logits of all examples whose label is not -1.

        Args:
            dataset: batches of one size, dicts of `image` and `label`.
            title: str. What the progress bar says.

        Returns:
            Float32 array `(examples, classes)`.
        """
        logits = []
        total = int(dataset.cardinality())
        with progress(title, total) as bar:
            for batch in dataset:
                kept = batch["label"] >= 0
                logits.append(self._forward(batch["image"])[kept].numpy())
                bar.advance(1)
        return np.concatenate(logits)

    @tf.function
    def _train_steps(self, iterator, number):
        total = tf.constant(0.0)
        for _ in tf.range(number):
            losses = self.strategy.run(self._train_step, (next(iterator),))
            total += self.strategy.reduce("SUM", losses, axis=None)
        return total / tf.cast(number, tf.float32)

    def _train_step(self, batch):
        loss, gradients = self._compiled(batch["image"], batch["target"])
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce("SUM", gradients)
        if self.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        rate = tf.gather(self._learning_rates, self.step)
        context.merge_call(self._update, args=(gradients, rate))
        return loss

    def _gradients(self, images, targets):
        """Gives the replica's share of the loss and of its gradients."""
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            losses = self._example_loss(targets, logits)
            loss = tf.reduce_sum(losses) / self.batch_size
            penalty = self.model.losses
            if penalty:
                replicas = self.strategy.num_replicas_in_sync
                loss += tf.add_n(penalty) / replicas
        return loss, tape.gradient(
            loss, self.variables, unconnected_gradients="zero"
        )

    def _update(self, strategy, gradients, rate):
        update = strategy.extended.update
        for variable, velocity, gradient in zip(
            self.variables, self._velocities, gradients, strict=True
        ):
            update(
                velocity,
                lambda v, g: v.assign(self.momentum * v + g),
                args=(gradient,),
                group=False,
            )
            update(
                variable,
                lambda w, v, rate: w.assign_sub(rate * v),
                args=(velocity, rate),
                group=False,
            )
        update(self.step, lambda step: step.assign_add(1), group=False)

    def _restore(self, directory: Path) -> tf.train.CheckpointManager:
        checkpoint = tf.train.Checkpoint(
            model=[variable.value for variable in self.model.variables],
            velocities=self._velocities,
            step=self.step,
        )
        manager = tf.train.CheckpointManager(
            checkpoint, str(directory), max_to_keep=2
        )
        if manager.latest_checkpoint:
            status = checkpoint.restore(manager.latest_checkpoint)
            status.assert_existing_objects_matched()
        return manager
