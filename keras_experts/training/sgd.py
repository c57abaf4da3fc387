"""Stochastic gradient descent with momentum, on a network or on a bank.

One step has three parts. Loss and gradients are local to a replica and
compile with XLA; the sum over replicas and the update stay outside, since
collectives on CPUs do not compile. The optimiser is here, and not Keras',
because Keras clips each replica's gradients before it sums them, and has no
state of its own for each expert of a bank.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_experts.data.streams import BatchPlan


@dataclasses.dataclass(frozen=True)
class SgdOptions:
    """What an update does with a gradient, in this order.

    Attributes:
        clip_norm: float. Largest norm of all gradients together, or None.
        weight_decay: float. Share of the weight that is added to its gradient
            after clipping, at least 0.
        momentum: float. Share of the last update that is kept, in [0, 1).
    """

    clip_norm: float | None = None
    weight_decay: float = 0.0
    momentum: float = 0.9

    def __post_init__(self):
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"`momentum` must be in [0, 1). Received: {self.momentum}."
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(
                f"`clip_norm` must be above 0. Received: {self.clip_norm}."
            )
        if not self.weight_decay >= 0:
            raise ValueError(
                "`weight_decay` must be at least 0. "
                f"Received: {self.weight_decay}."
            )

    def clipped(
        self, gradients: list[tf.Tensor], norms: tf.Tensor
    ) -> list[tf.Tensor]:
        """Shortens gradients whose norm, `()` or `(groups,)`, is too large."""
        if self.clip_norm is None:
            return gradients
        factor = self.clip_norm / tf.maximum(norms, self.clip_norm)
        return [g * on_first_axis(factor, g) for g in gradients]


class NetworkSgd:
    """Trains all trainable variables of one network.

    Args:
        model: keras.Model from float images, values in [0, 1], to logits;
            made in the strategy's scope.
        example_loss: function of a batch's targets and logits to losses
            `(batch,)`.
        learning_rates: float array `(num_updates,)`.
        plan: BatchPlan of one stream.
        strategy: tf.distribute.Strategy.
        options: SgdOptions.
        compile: bool. Whether to compile with XLA.

    Attributes:
        plan: as given.
        state: dict of str to tf.Variable. All that a checkpoint holds.
        step: tf.Variable. Steps done.
    """

    def __init__(
        self,
        model: keras.Model,
        example_loss: Callable,
        learning_rates: np.ndarray,
        plan: BatchPlan,
        strategy: tf.distribute.Strategy,
        options: SgdOptions = SgdOptions(),
        compile: bool = True,
    ):
        check_replicas(plan.batch_size, strategy)
        self.model = model
        self.plan = plan
        self._example_loss = example_loss
        self._rates = tf.constant(learning_rates, tf.float32)
        self._replicas = strategy.num_replicas_in_sync
        self._options = options
        self._variables = [v.value for v in model.trainable_variables]
        # In the scope: each replica has its own copy beside its variable.
        with strategy.scope():
            self._velocities = [
                tf.Variable(tf.zeros_like(variable), trainable=False)
                for variable in self._variables
            ]
            self.step = tf.Variable(0, trainable=False, dtype=tf.int64)
        weights = [v.value for v in model.variables]
        self.state = {
            **_by_name("weights", model.variables, weights),
            **_by_name(
                "velocities", model.trainable_variables, self._velocities
            ),
        }
        self._compiled = tf.function(self._gradients, jit_compile=compile)

    def reset(self, weights: list[np.ndarray]) -> None:
        """Starts anew from given weights, without compiling again."""
        self.model.set_weights(weights)
        for velocity in self._velocities:
            velocity.assign(tf.zeros_like(velocity))
        self.step.assign(0)

    def replan(
        self,
        learning_rates: np.ndarray,
        plan: BatchPlan,
        options: SgdOptions,
    ) -> None:
        """Takes another length and other options, for trainers yet to come.

        Gradients are not compiled again.

        Args:
            learning_rates: float array `(num_updates,)`.
            plan: BatchPlan of the same batch size.
            options: SgdOptions.
        """
        self._rates = tf.constant(learning_rates, tf.float32)
        self.plan = plan
        self._options = options

    def rate_at(self, step: int) -> float:
        """Gives the learning rate of a step."""
        return float(self._rates[min(step, len(self._rates) - 1)])

    def replica_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Does one replica's part of a step.

        Returns:
            Its part of the loss, `(1,)`.
        """
        loss, gradients = self._compiled(batch["image"], batch["target"])
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce("SUM", gradients)
        norm = tf.linalg.global_norm(gradients)
        gradients = self._options.clipped(gradients, norm)
        rate = tf.gather(self._rates, self.step)
        context.merge_call(self._update, args=(gradients, rate))
        return loss[None]

    def _gradients(self, images, targets):
        """Gives the replica's share of the loss and of its gradients."""
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            losses = self._example_loss(targets, logits)
            loss = tf.reduce_sum(losses) / self.plan.batch_size
            penalty = self.model.losses
            if penalty:
                loss += tf.add_n(penalty) / self._replicas
        gradients = tape.gradient(
            loss, self._variables, unconnected_gradients="zero"
        )
        # Those of an embedding come as the rows that were looked up.
        return loss, [tf.convert_to_tensor(g) for g in gradients]

    def _update(self, strategy, gradients, rate):
        update = strategy.extended.update
        options = self._options

        def accelerate(velocity, gradient, weight):
            gradient += options.weight_decay * weight
            velocity.assign(options.momentum * velocity + gradient)

        for variable, velocity, gradient in zip(
            self._variables, self._velocities, gradients, strict=True
        ):
            update(velocity, accelerate, args=(gradient, variable), group=False)
            update(
                variable,
                lambda w, v, rate: w.assign_sub(rate * v),
                args=(velocity, rate),
                group=False,
            )
        update(self.step, lambda step: step.assign_add(1), group=False)


def _by_name(
    kind: str, named: list[keras.Variable], values: list[tf.Variable]
) -> dict[str, tf.Variable]:
    """Returns a part of the state by the names of Keras variables.

    Names repeat in a network of networks; the repeated ones get a number.
    """
    state: dict[str, tf.Variable] = {}
    for variable, value in zip(named, values, strict=True):
        key = name = f"{kind}/{variable.path}"
        number = 1
        while key in state:
            number += 1
            key = f"{name}~{number}"
        state[key] = value
    return state


def check_replicas(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raises unless all replicas get the same number of images."""
    replicas = strategy.num_replicas_in_sync
    if batch_size < 1 or batch_size % replicas:
        raise ValueError(
            "`batch_size` must be a multiple of the number of replicas. "
            f"Received: {batch_size} for {replicas} replicas."
        )


def on_first_axis(factor: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    """Gives `factor`, `()` or `(groups,)`, the rank of `tensor`."""
    if not factor.shape.rank:
        return factor
    return tf.reshape(factor, (-1, *[1] * (tensor.shape.rank - 1)))
