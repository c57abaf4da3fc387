"""Training all experts of a bank together, each as if it were alone.

A step takes some experts' adapters out of the bank, runs each on its own group
of images in one batch, and puts them back. So the network and its gradients
have the size of the experts of a step, whatever the size of the bank, and an
expert that is not in a step does not move.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_experts.data.streams import BatchPlan
from keras_experts.training.sgd import SgdOptions
from keras_experts.training.sgd import check_replicas
from keras_experts.training.sgd import on_first_axis


class BankSgd:
    """Trains the experts of a bank, a group of images each.

    Args:
        model: keras.Model from float images, values in [0, 1], to logits, with
            `AdapterGroups` of as many experts as a step has; made in the
            strategy's scope.
        working: dict of str to keras.Variable. The variables of these.
        initial: dict of str to float array. One expert's, by the same names,
            from which all experts start.
        example_loss: function of a batch's targets and logits to losses
            `(batch,)`.
        learning_rates: float array `(num_updates,)`, for each expert.
        plan: BatchPlan; its streams are the experts.
        strategy: tf.distribute.Strategy.
        options: SgdOptions, applied to each expert by itself.
        compile: bool. Whether to compile with XLA.

    Attributes:
        plan: as given.
        state: dict of str to tf.Variable. All that a checkpoint holds.
        step: tf.Variable. Steps done.
    """

    def __init__(
        self,
        model: keras.Model,
        working: dict[str, keras.Variable],
        initial: dict[str, np.ndarray],
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
        self._options = options
        self._names = list(working)
        self._working = list(working.values())
        with strategy.scope():
            self._bank = [
                tf.Variable(
                    np.broadcast_to(
                        initial[name], (plan.num_streams, *initial[name].shape)
                    ),
                    trainable=False,
                )
                for name in self._names
            ]
            self._velocities = [
                tf.Variable(tf.zeros(value.shape), trainable=False)
                for value in self._bank
            ]
            self.step = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.state = {
            f"{kind}/{name}": variable
            for kind, variables in (
                ("weights", self._bank),
                ("velocities", self._velocities),
            )
            for name, variable in zip(self._names, variables, strict=True)
        }
        self._compiled = tf.function(self._gradients, jit_compile=compile)

    def expert(self, index: int) -> dict[str, np.ndarray]:
        """Copies one expert's variables, by the names of `initial`."""
        return {
            name: variable[index].numpy()
            for name, variable in zip(self._names, self._bank, strict=True)
        }

    def rate_at(self, step: int) -> float:
        """Gives the learning rate of a step's first group."""
        _, update, _ = self.plan.groups(np.int64(step))
        return float(self._rates[min(update[0], len(self._rates) - 1)])

    def replica_step(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """Does one replica's part of a step.

        Returns:
            Its part of the loss of each group, `(groups,)`; 0 for idle ones.
        """
        expert, update, counts = self.plan.groups(self.step)
        weights = [tf.gather(variable, expert) for variable in self._bank]
        losses, gradients = self._compiled(
            batch["image"], batch["target"], weights
        )
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce("SUM", gradients)
        gradients = self._options.clipped(gradients, _group_norms(gradients))
        rates = tf.gather(self._rates, tf.minimum(update, len(self._rates) - 1))
        # An idle group is given back as it was taken.
        rates = tf.where(counts, rates, 0.0)
        moved, velocities = [], []
        for weight, variable, gradient in zip(
            weights, self._velocities, gradients, strict=True
        ):
            old = tf.gather(variable, expert)
            gradient += self._options.weight_decay * weight
            new = self._options.momentum * old + gradient
            new = tf.where(on_first_axis(counts, new), new, old)
            velocities.append(new)
            moved.append(weight - on_first_axis(rates, new) * new)
        context.merge_call(self._put_back, args=(expert, moved, velocities))
        return tf.where(counts, losses, 0.0)

    def _gradients(self, images, targets, weights):
        """Gives the replica's share of each group's loss and gradients."""
        groups = self.plan.group_size
        with tf.GradientTape() as tape:
            tape.watch(weights)
            mapping = list(zip(self._working, weights, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                logits = self.model(images, training=True)
            losses = self._example_loss(targets, logits)
            losses = tf.reshape(losses, (groups, -1))
            losses = tf.reduce_sum(losses, axis=1) / self.plan.batch_size
            # Groups share no variable, so the sum's gradient is each one's.
            loss = tf.reduce_sum(losses)
        return losses, tape.gradient(loss, weights)

    def _put_back(self, strategy, expert, weights, velocities):
        update = strategy.extended.update

        def scatter(variable, rows, places):
            variable.scatter_update(tf.IndexedSlices(rows, places))

        for variables, values in (
            (self._bank, weights),
            (self._velocities, velocities),
        ):
            for variable, rows in zip(variables, values, strict=True):
                update(variable, scatter, args=(rows, expert), group=False)
        update(self.step, lambda step: step.assign_add(1), group=False)


def _group_norms(gradients: list[tf.Tensor]) -> tf.Tensor:
    """Gives the norm of each group's gradients together, `(groups,)`."""
    squares = [
        tf.reduce_sum(tf.square(g), axis=list(range(1, g.shape.rank)))
        for g in gradients
    ]
    return tf.sqrt(tf.add_n(squares))
