"""What a task costs by selection, against domain adaptive transfer."""

from keras_experts.checks import check_at_least

TRAINING_PASSES = 3  # forward, and backward at twice its cost


def cost_ratio(
    upstream_images: int,
    num_experts: int,
    task_images: int = 1000,
    share: float = 1.0,
) -> float:
    """Gives how many times dearer domain adaptive transfer is, per task.

    It fine-tunes on upstream images what selection only passes the task's
    images through; networks and fine-tuning on the task are the same for both
    (paper, section 6.6).

    Args:
        upstream_images: int. Images that domain adaptive transfer trains on
            for a task, repeats counted: its steps times its batch.
        num_experts: int. Experts that are scored.
        task_images: int. Images of the task.
        share: float. Of all passes that selection makes, in (0, 1]; racing
            makes fewer.
    """
    check_at_least(
        upstream_images=(upstream_images, 1),
        num_experts=(num_experts, 1),
        task_images=(task_images, 1),
    )
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be in (0, 1]. Received: {share}.")
    passes = num_experts * task_images * share
    return TRAINING_PASSES * upstream_images / passes
