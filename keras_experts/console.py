"""What people see: progress bars and tables, on stderr unless asked for."""

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeElapsedColumn
from rich.progress import TimeRemainingColumn
from rich.table import Table


class Bar:
    """One progress bar with rate and time left."""

    def __init__(self, display: Progress, title: str, total: int, unit: str):
        self._display = display
        self._task = display.add_task(title, total=total, unit=unit, note="")
        self._total = total

    def start_at(self, done: int) -> None:
        """Starts from what an earlier run has done."""
        self._display.reset(self._task, completed=done, total=self._total)

    def advance(self, number: int, note: str = "") -> None:
        """Counts things done; the note stands at the end of the line."""
        self._display.update(self._task, advance=number, note=note)


@contextlib.contextmanager
def progress(
    title: str, total: int, done: int = 0, unit: str = ""
) -> Iterator[Bar]:
    """Shows a progress bar on stderr while the block runs.

    Args:
        title: str. What is being done.
        total: int. Things to do.
        done: int. Things done before, not counted in the rate.
        unit: str. What is counted.
    """
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    with display:
        bar = Bar(display, title, total, unit)
        if done:
            bar.start_at(done)
        yield bar


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Prints a table to stdout; columns after the first to the right."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    Console().print(table)


def say(line: str) -> None:
    """Prints one line to stderr."""
    Console(stderr=True, highlight=False, markup=False).print(
        line, soft_wrap=True
    )
