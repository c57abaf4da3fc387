"""The training loop on whatever tf.distribute spans, through kills."""

import dataclasses
import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_experts.console import Bar
from keras_experts.console import progress
from keras_experts.data.streams import Stream
from keras_experts.models.run_folder import CHECKPOINTS_FOLDER
from keras_experts.training import distribution
from keras_experts.training.checkpoints import Checkpoints
from keras_experts.training.runtime import Runtime
from keras_experts.training.source import Source
from keras_experts.training.stopping import Stopped
from keras_experts.training.stopping import StopSignals
from keras_experts.training.watching import Watcher
from keras_experts.training.watching import loss_figures

LAST_LOSSES = "last_losses"


@dataclasses.dataclass
class Training:
    """What a run of steps gave.

    Attributes:
        losses: float32 array `(steps, groups)`. Of the steps done now.
        last_losses: float32 array `(streams,)`. Of each one's last update.
        images_per_second: float. Of the steps, or None where too few were
            done to tell; compilation not counted.
        input_images_per_second: float. Of the input alone, on this process.
    """

    losses: np.ndarray
    last_losses: np.ndarray
    images_per_second: float | None = None
    input_images_per_second: float | None = None


class Trainer:
    """Runs the steps of an optimiser over batches.

    Args:
        sgd: `NetworkSgd` or `BankSgd`.
        strategy: tf.distribute.Strategy that it was made with.
        runtime: Runtime.
    """

    def __init__(self, sgd, strategy: tf.distribute.Strategy, runtime: Runtime):
        self.sgd = sgd
        self.plan = sgd.plan
        self._strategy = strategy
        self._runtime = runtime
        self._names: Sequence[str] = ()
        self._steps_now = range(0)
        self._last_losses = np.zeros(0, np.float32)
        self._until = self.plan.num_steps
        self._input_rate: float | None = None

    def fit(
        self,
        streams: Sequence[Stream],
        preprocess: Callable,
        title: str = "training",
        folder: Path | None = None,
        settings: dict | None = None,
        names: Sequence[str] = (),
        mixup: float = 0.0,
        until: int | None = None,
    ) -> Training:
        """Runs the steps that are left.

        Args:
            streams: Stream, one for each of the plan's.
            preprocess: function of an image and a seed `(2,)` to a float image
                of fixed size, values in [0, 1].
            title: str. The title of the progress bar.
            folder: where checkpoints, `metrics.jsonl` and TensorBoard scalars
                go, and what a killed run left is found; or None for none.
            settings: dict. What the run is made with; a checkpoint of another
                run is refused.
            names: of the streams.
            mixup: float. As in `training_batches`.
            until: int. Step to stop after, from which another call goes on;
                None for the plan's last.

        Raises:
            FloatingPointError: if the loss is no longer finite.
            Stopped: if SIGTERM or Ctrl-C came; what was done is saved.
            ConnectionError: if another process is gone.
            ValueError: if there is a checkpoint that does not fit.
        """
        self._names = names or [title]
        self._until = self.plan.num_steps if until is None else until
        self._last_losses = np.full(self.plan.num_streams, np.nan, np.float32)
        checkpoints = None
        if folder is not None:
            checkpoints = Checkpoints(
                folder / CHECKPOINTS_FOLDER, settings or {}
            )
            if not self._restore(checkpoints):
                self._save(checkpoints, 0)
        source = Source(
            streams, self.plan, preprocess, mixup, self._strategy, folder
        )
        while True:
            try:
                return self._attempt(source, title, folder, checkpoints)
            except tf.errors.InvalidArgumentError as error:
                source.leave_out_damaged(self._steps_now, error)
                # The loop may have done some of its updates, and not others.
                if checkpoints is None or not self._is_alone():
                    raise ValueError(
                        "Images must be readable; those named above are not. "
                        f"Received: {title}, which reads them."
                    ) from error
                self._restore(checkpoints)

    def _attempt(
        self,
        source: Source,
        title: str,
        folder: Path | None,
        checkpoints: Checkpoints | None,
    ) -> Training:
        """Runs the steps that are left, until an image is damaged."""
        start = int(self.sgd.step.numpy())
        # Before all else: gin records what was called, a preprocessing too.
        if folder and self._input_rate is None:
            self._input_rate = source.images_per_second(start)
        if start >= self._until:
            losses = np.zeros((0, self.plan.group_size), np.float32)
            return Training(losses, self._last_losses)
        chief = distribution.is_chief(self._strategy)
        watcher = Watcher(folder, start) if folder and chief else None
        try:
            with (
                distribution.workers_stay(self._strategy),
                StopSignals() as signals,
                progress(title, self.plan.num_steps, start) as bar,
            ):
                training = self._run(
                    source, start, bar, checkpoints, watcher, signals
                )
        finally:
            if watcher:
                watcher.close()
        training.input_images_per_second = self._input_rate
        return training

    def _run(
        self,
        source: Source,
        start: int,
        bar: Bar,
        checkpoints: Checkpoints | None,
        watcher: Watcher | None,
        signals: StopSignals,
    ) -> Training:
        step, loop_steps = start, 1
        saved_at, saved_step = time.monotonic(), start
        rates, losses = [], []
        iterator = source.iterator(start)
        while step < self._until:
            number = min(loop_steps, self._until - step)
            began = time.monotonic()
            self._steps_now = range(step, step + number)
            loop = self._train_steps(iterator, tf.constant(number)).numpy()
            seconds = time.monotonic() - began
            groups = self._groups(step, number)
            self._check_finite(loop, groups, step)
            # By rising steps: of equal streams the last assignment stays.
            self._last_losses[groups[groups >= 0]] = loop[groups >= 0]
            step += number
            losses.append(loop)
            images = int((groups >= 0).sum()) * self.plan.batch_size
            figures = {
                **loss_figures(loop, groups, self._names),
                "learning_rate": self.sgd.rate_at(step - 1),
                "images_per_second": round(images / seconds, 2),
            }
            note = f"loss {figures['loss']:.3f}"
            if len(losses) > 1:  # the first loop compiles
                rates.append((images, seconds))
                note += f", {images / seconds:,.0f} images/s"
            bar.advance(number, note)
            if watcher:
                watcher.write(step, figures)
            stop, seconds = self._agree(signals, seconds)
            due = time.monotonic() - saved_at > self._runtime.checkpoint_seconds
            every = self._runtime.checkpoint_steps
            due |= every is not None and step - saved_step >= every
            last = step == self._until
            if checkpoints and (due or stop or last):
                self._save(checkpoints, step)
                saved_at, saved_step = time.monotonic(), step
            if stop and step < self.plan.num_steps:
                kept = "run again to go on" if checkpoints else "none is kept"
                raise Stopped(
                    f"Stopped by {signals.received or 'another worker'} after "
                    f"step {step:,} of {self.plan.num_steps:,}; {kept}."
                )
            loop_steps = self._next_loop(loop_steps, seconds / number)
            if every is not None:
                loop_steps = min(loop_steps, saved_step + every - step)
        images, seconds = np.sum(rates, axis=0) if rates else (0, 0)
        return Training(
            np.concatenate(losses),
            self._last_losses,
            images / seconds if seconds else None,
        )

    @tf.function
    def _train_steps(self, iterator, number):
        losses = tf.TensorArray(tf.float32, size=number)
        for place in tf.range(number):
            each = self._strategy.run(self.sgd.replica_step, (next(iterator),))
            total = self._strategy.reduce("SUM", each, axis=None)
            losses = losses.write(place, total)
        return losses.stack()

    def _groups(self, first: int, number: int) -> np.ndarray:
        """Tells the stream of each group, -1 where idle: `(steps, groups)`."""
        rows = []
        for step in range(first, first + number):
            stream, _, counts = self.plan.groups(np.int64(step))
            rows.append(np.where(counts, stream, -1))
        return np.stack(rows)

    def _next_loop(self, steps: int, seconds_a_step: float) -> int:
        """Gives the steps of the next loop: at most twice as many."""
        aim = int(self._runtime.loop_seconds / seconds_a_step)
        return max(1, min(aim, 2 * steps, self._runtime.max_loop_steps))

    def _agree(
        self, signals: StopSignals, seconds: float
    ) -> tuple[bool, float]:
        """Makes all processes stop together, and loop equally."""
        stop, total = distribution.sum_over_workers(
            self._strategy, [float(signals.received is not None), seconds]
        )
        return stop > 0, total / distribution.num_workers(self._strategy)

    def _check_finite(
        self, losses: np.ndarray, groups: np.ndarray, first: int
    ) -> None:
        if np.isfinite(losses).all():
            return
        row, group = np.argwhere(~np.isfinite(losses))[0]
        step = first + int(row)
        raise FloatingPointError(
            "The loss must stay finite; try a lower learning rate. "
            f"Received: {losses[row, group]} at step {step} of "
            f"{self._names[groups[row, group]]}, "
            f"rate {self.sgd.rate_at(step):.2g}."
        )

    def _save(self, checkpoints: Checkpoints, step: int) -> None:
        if not distribution.is_chief(self._strategy):
            return
        state = {name: v.numpy() for name, v in self.sgd.state.items()}
        for name, value in state.items():
            if not np.isfinite(value).all():
                raise FloatingPointError(
                    "The weights must stay finite; try a lower learning rate. "
                    f"Received: {name} at step {step}."
                )
        checkpoints.save(step, {**state, LAST_LOSSES: self._last_losses})

    def _is_alone(self) -> bool:
        return distribution.num_workers(self._strategy) == 1

    def _restore(self, checkpoints: Checkpoints) -> bool:
        """Goes back to the last checkpoint, and tells whether there is one."""
        shapes = {
            name: tuple(variable.shape)
            for name, variable in self.sgd.state.items()
        }
        shapes[LAST_LOSSES] = self._last_losses.shape
        found = checkpoints.restore(shapes)
        step = 0
        if found is not None:
            step, state = found
            for name, variable in self.sgd.state.items():
                variable.assign(state[name])
            self.sgd.step.assign(step)
            self._last_losses = state[LAST_LOSSES].copy()
        workers, total, squares = distribution.sum_over_workers(
            self._strategy, [1, step, step**2]
        )
        if workers * squares != total**2:
            raise ValueError(
                "All workers must find the same checkpoint: --workdir must be "
                f"a folder they share. Received: step {step} on this one."
            )
        return found is not None
