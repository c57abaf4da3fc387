"""The paper's 500 to 1000 times, by counting.

    python benchmarks/cost_of_selection.py

The steps of the paper's domain adaptive transfer are not public. This prints
how many steps of 4,096 images (its batch for pre-training, section 6.1 and Big
Transfer) its two ratios stand for, what they come to with races, and the ratio
of the miniature in gin/stages/cifar100_dat.gin.
"""

from keras_experts.evaluation.cost_of_selection import cost_ratio

EXPERTS, TASK_IMAGES, BATCH = 240, 1000, 4096  # the paper's, on JFT
JFT_IMAGES = 300_000_000
BUDGET = 0.25  # of racing, benchmarks/racing.py
MINIATURE_IMAGES, MINIATURE_EXPERTS = 240 * 128, 40


def main() -> None:
    one_step = cost_ratio(BATCH, EXPERTS, TASK_IMAGES)
    print(f"ratio_of_1000_steps {1000 * one_step:.1f} times")
    for ratio in (500, 1000):
        steps = round(ratio / one_step)
        print(f"steps_at_{ratio}_times {steps} steps")
        share = steps * BATCH / JFT_IMAGES
        print(f"share_of_jft_at_{ratio}_times {share:.3f} passes")
        raced = cost_ratio(steps * BATCH, EXPERTS, TASK_IMAGES, BUDGET)
        print(f"ratio_with_races_at_{ratio}_times {raced:.0f} times")
    small = cost_ratio(MINIATURE_IMAGES, MINIATURE_EXPERTS)
    raced = cost_ratio(MINIATURE_IMAGES, MINIATURE_EXPERTS, share=BUDGET)
    print(f"miniature_ratio {small:.2f} times")
    print(f"miniature_ratio_with_races {raced:.2f} times")


if __name__ == "__main__":
    main()
