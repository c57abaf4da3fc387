"""The command to run after a selection."""

import dataclasses
import shlex
from collections.abc import Sequence

from keras_experts.selection.modules import UNIT_RANGE
from keras_experts.selection.modules import Candidate
from keras_experts.selection.ranking import Selection

OUTPUT = "finetuned"


def with_next_command(
    selection: Selection,
    candidates: Sequence[Candidate],
    task_flags: Sequence[str],
) -> Selection:
    """Returns the selection with the command that fine-tunes its module.

    `finetune` chooses the length, the batch size and the learning rates for
    the module and the task by itself, so the command does not set them.

    Args:
        selection: Selection.
        candidates: Candidate, all of the pool.
        task_flags: flags by which `finetune` finds the task, such as
            `("--task", "photos")`.
    """
    module = selection.conclusion.recommended
    (candidate,) = (c for c in candidates if c.handle == module)
    if candidate.function is not None:
        return selection
    command = ["keras-experts", "finetune", "--module", module]
    command += [*task_flags, "--output", OUTPUT]
    if candidate.image_size is not None:
        command += ["--image_size", str(candidate.image_size)]
    if candidate.input_range != UNIT_RANGE:
        command += ["--input_range", *map(str, candidate.input_range)]
    return dataclasses.replace(selection, next_command=shlex.join(command))
