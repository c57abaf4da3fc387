"""The conclusion of a selection in words: which module to use, and why."""

import dataclasses

from keras_experts.selection.statistics import NORMAL_95

SIGNIFICANCE = 0.05  # largest p-value of an expert that is recommended


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """The conclusion of a selection.

    Attributes:
        text: str. One or two whole sentences.
        recommended: str. The module to fine-tune.
    """

    text: str
    recommended: str


def conclude(selection) -> Conclusion:
    """Returns what a selection means.

    The best expert is recommended, unless its gain over the baseline has a
    p-value and that is not below `SIGNIFICANCE`: then it is the baseline.

    Args:
        selection: Selection.
    """
    best, gain = selection.best, selection.lead
    modules = {entry.module: entry for entry in selection.ranking}
    baseline = modules.get(selection.baseline)
    score = f"The expert {best.expert} has the highest score"
    if best.module == selection.baseline:
        text = "No expert scores higher than the baseline"
        if selection.margin:
            margin = format_points(selection, selection.margin)
            text += f" by more than {margin}"
        text += "; take the baseline."
        if len(selection.ranking) == 1:
            text = "The baseline is the only module that was scored."
        return Conclusion(text, best.module)
    if gain is not None:
        return _by_p_value(selection, format_p_value(gain.by_chance))
    if len(selection.ranking) == 1:
        text = f"{best.expert} is the only module that was scored."
    elif selection.baseline is None:
        text = f"{score}. The pool has no baseline to compare it with."
    elif baseline is None:
        text = f"{score}. The baseline was skipped: nothing to compare with."
    elif baseline.examples < best.examples:
        text = (
            f"{score}. The baseline was eliminated after "
            f"{baseline.examples:,} {selection.medium}."
        )
    else:
        gain_text = format_points(selection, best.over_baseline or 0.0)
        text = (
            f"{score}, {gain_text} above the baseline's. Such scores have no "
            "p-value: whether this is more than chance is not known."
        )
    return Conclusion(text, best.module)


def _by_p_value(selection, p_value: str) -> Conclusion:
    best, gain = selection.best, selection.lead
    points = format_points(selection, best.over_baseline or 0.0)
    figures = [p_value]
    if best.over_baseline_error is not None:
        figures.insert(0, format_interval(selection, best))
    evidence = ", ".join(figures)
    if gain.rivals > 1:
        evidence += f", corrected for {gain.rivals:,} experts"
    if gain.by_chance < SIGNIFICANCE:
        text = (
            f"The expert {best.expert} is better than the baseline by "
            f"{points} ({evidence})."
        )
        return Conclusion(text, best.module)
    text = (
        "No expert is reliably better than the baseline; take the baseline. "
        f"The best one, {best.expert}, scores {points} higher ({evidence})."
    )
    return Conclusion(text, selection.baseline)


def format_p_value(value: float) -> str:
    """Formats a p-value, such as "p = 0.29"."""
    if value < 1e-3:
        return "p < 0.001"
    return f"p = {value:.2f}" if value >= 0.1 else f"p = {value:.2g}"


def format_points(selection, value: float, sign: str = "") -> str:
    """Formats a difference of scores, with its unit."""
    if selection.is_share:
        return f"{100 * value:{sign}.1f} points"
    return f"{value:{sign}.4g}"


def format_interval(selection, entry) -> str:
    """Formats the 95% interval of an entry's gain over the baseline."""
    half = NORMAL_95 * entry.over_baseline_error
    scale, digits = (100, ".1f") if selection.is_share else (1, ".4g")
    low, high = (
        f"{scale * (entry.over_baseline + side * half):{digits}}"
        for side in (-1, 1)
    )
    return f"95% interval {low} to {high}"
