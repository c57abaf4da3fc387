"""Tables and pages of results, from their files alone."""

import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from keras_experts import files
from keras_experts import templates
from keras_experts.evaluation.results import BASELINE
from keras_experts.evaluation.results import ORACLE
from keras_experts.evaluation.results import Results
from keras_experts.evaluation.statistics import Estimate
from keras_experts.evaluation.statistics import Summary

# Of fewer the bootstrap's interval of a median is too short.
ENOUGH_RUNS = 10
CSV_COLUMNS = ("table", "method", "of", "value", "low", "high", "missing")


@dataclasses.dataclass(frozen=True)
class Table:
    """Estimates in rows of methods.

    Attributes:
        title: str.
        columns: tuple of str. What each estimate is of.
        rows: dict of a method to its estimates; None where there is none.
        is_difference: bool. Whether the estimates are differences.
    """

    title: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Estimate | None, ...]]
    is_difference: bool = False

    @property
    def missing(self) -> dict[str, tuple[str, ...]]:
        """Tasks that some mean of a method is without."""
        found = {
            method: tuple(
                dict.fromkeys(
                    task
                    for estimate in row
                    if estimate is not None
                    for task in estimate.missing
                )
            )
            for method, row in self.rows.items()
        }
        return {method: tasks for method, tasks in found.items() if tasks}


def make_tables(summary: Summary) -> list[Table]:
    """Makes the tables of results.

    Of groups (as the paper's tables 1, 2 and 5), of tasks (as its table 3, but
    medians for its means), of differences from the baseline, and of regrets
    where an oracle was run.
    """
    methods = summary.results.methods
    groups = summary.groups
    tasks = tuple(task.name for task in summary.results.tasks)
    tables = [
        _table("Groups", groups, methods, summary.group),
        _table("Tasks", tasks, methods, summary.task),
    ]
    if BASELINE in methods:
        others = [m for m in methods if m != BASELINE]
        tables.append(
            _table(
                "Over the baseline",
                groups,
                others,
                lambda m, group: summary.difference(m, BASELINE, group),
                True,
            )
        )
    oracles = [m for m in methods if m.partition("@")[0] == ORACLE]
    for oracle in oracles:
        tables.append(
            _table(
                f"Regret against the best module of each task ({oracle})",
                groups,
                [m for m in methods if m not in oracles],
                lambda m, group, oracle=oracle: summary.regret(
                    m, oracle, group
                ),
                True,
            )
        )
    return [table for table in tables if table.rows]


def _table(
    title: str,
    columns: tuple[str, ...],
    methods: Iterable[str],
    estimate: Callable[[str, str], Estimate | None],
    is_difference: bool = False,
) -> Table:
    rows = {
        method: tuple(estimate(method, column) for column in columns)
        for method in methods
    }
    return Table(title, columns, rows, is_difference)


def make_notes(results: Results) -> list[str]:
    """Tells what the figures are of, and what stands behind a mark."""
    notes = []
    for method in results.methods:
        runs = [run for run in results.runs if run.method == method]
        counts = Counter(run.task for run in runs).values()
        few, many = min(counts), max(counts)
        note = f"{method}: {few if few == many else f'{few} to {many}'} run"
        note += "s" if many > 1 else ""
        failed = sum("failed" in run.details for run in runs)
        if failed:
            note += f", of which {failed} diverged and count as 0"
        notes.append(note + " a task.")
        if few < 2:
            notes[-1] += " One alone has no interval."
        elif few < ENOUGH_RUNS:
            notes[-1] += " The interval of so few is about their range."
    notes.append("*: all of the interval lies on one side of zero.")
    return notes


def shown(estimate: Estimate | None, is_difference: bool = False) -> str:
    """Writes an estimate in per cent, as the paper does."""
    if estimate is None:
        return "-"
    sign = "+" if is_difference else ""
    mark = "*" if is_difference and estimate.is_sure else ""
    figures = [estimate.value]
    if estimate.has_interval:
        figures += [estimate.low, estimate.high]
    text, *ends = (f"{100 * number:{sign}.1f}" for number in figures)
    if ends:
        text += f" [{', '.join(ends)}]{mark}"
    if estimate.missing:
        total = len(estimate.tasks) + len(estimate.missing)
        text += f" ({len(estimate.tasks)} of {total} tasks)"
    return text


def to_markdown(tables: Iterable[Table], notes: Iterable[str]) -> str:
    """Writes tables as Markdown; means that lack tasks say which."""
    lines = []
    for table in tables:
        lines += [f"## {table.title}", ""]
        lines.append(f"| method | {' | '.join(table.columns)} |")
        lines.append(f"|---|{'---|' * len(table.columns)}")
        for method, row in table.rows.items():
            cells = (shown(cell, table.is_difference) for cell in row)
            lines.append(f"| {method} | {' | '.join(cells)} |")
        for method, tasks in table.missing.items():
            lines += ["", f"Without a result of {method}: {', '.join(tasks)}."]
        lines.append("")
    lines += [f"- {note}" for note in notes]
    return "\n".join([*lines, ""])


def to_csv(tables: Iterable[Table]) -> str:
    """Writes tables as CSV, one estimate a line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        for method, row in table.rows.items():
            for column, cell in zip(table.columns, row, strict=True):
                if cell is not None:
                    ends = (cell.low, cell.high) if cell.has_interval else ()
                    figures = [f"{n:.6f}" for n in (cell.value, *ends)]
                    writer.writerow(
                        [table.title, method, column]
                        + figures
                        + [""] * (3 - len(figures))
                        + [" ".join(cell.missing)]
                    )
    return out.getvalue()


def write_page(
    path: str | Path, results: Results, tables: Sequence[Table]
) -> None:
    """Writes a self-contained page with the tables, and bars (figure 2).

    Raises:
        ValueError: if there is no run.
    """
    if not tables:
        raise ValueError(
            "Results to show must have a run. "
            f"Received: {results.suite} without."
        )
    page = templates.render(
        "results.html.j2",
        suite=results.suite,
        tables=tables,
        groups=tables[0],
        shown=shown,
        num_runs=len(results.runs),
        notes=make_notes(results),
    )
    files.write_text(path, page)
