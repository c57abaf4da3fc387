"""Pages whose tables are made, between two marks, and whose words are not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from keras_experts import files


def fill(page: Path, name: str, text: str) -> None:
    """Puts text between the two marks of a name, `<!-- NAME -->`."""
    mark = f"<!-- {name} -->"
    parts = page.read_text(encoding="utf-8").split(mark)
    if len(parts) != 3:
        raise ValueError(
            f"{page.name} must have {mark} twice. "
            f"Received: {len(parts) - 1} times."
        )
    files.write_text(page, mark.join((parts[0], f"\n\n{text}\n\n", parts[2])))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(found: list[float]) -> str:
    """Gives a mean's 95 % interval, and of how many it is above zero."""
    values = np.array(found)
    number = len(values)
    better = f"better on {(values > 0).sum()} of {number}"
    if number < 3 or not values.std():
        return better
    low, high = spread(values)
    return f"{low:+.1f} to {high:+.1f}, {better}"


def spread(values: np.ndarray) -> tuple[float, float]:
    """Gives a mean's 95 % interval, by the t-distribution."""
    return stats.t.interval(
        0.95, len(values) - 1, values.mean(), stats.sem(values)
    )
