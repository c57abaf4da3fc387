"""How a stage runs, as against what it trains: none of this changes results."""

import dataclasses

import tensorflow as tf

from keras_experts import config
from keras_experts.checks import check_at_least
from keras_experts.training.distribution import make_strategy


@config.register
@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a stage runs.

    Attributes:
        strategy: str. As in `make_strategy`.
        tpu: str. As in `make_strategy`.
        compile: bool. Whether to compile with XLA.
        checkpoint_seconds: float. Longest time between two checkpoints.
        checkpoint_steps: int. Most steps between two, or None.
        loop_seconds: float. Time between two looks at the loss and at signals.
        max_loop_steps: int. Most steps between two.
    """

    strategy: str = "one_device"
    tpu: str | None = None
    compile: bool = True
    checkpoint_seconds: float = 120.0
    checkpoint_steps: int | None = None
    loop_seconds: float = 5.0
    max_loop_steps: int = 100

    def __post_init__(self):
        check_at_least(
            checkpoint_steps=(
                1 if self.checkpoint_steps is None else self.checkpoint_steps,
                1,
            ),
            max_loop_steps=(self.max_loop_steps, 1),
        )

    @property
    def compile_replicas(self) -> bool:
        """Whether a replica's part of a step is compiled by itself.

        Not on a TPU, which compiles the whole step.
        """
        return self.compile and self.strategy != "tpu"

    def make_strategy(self) -> tf.distribute.Strategy:
        """Makes the strategy; call it before anything else."""
        return make_strategy(self.strategy, self.tpu)
