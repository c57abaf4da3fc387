"""What people see: progress bars and tables, on stderr unless asked for."""

import contextlib
import os
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeElapsedColumn
from rich.progress import TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

# Seconds between two lines where stderr is a file and no terminal.
SECONDS_A_LINE = 30
WIDTH_IN_FILES = 1000


class Bar:
    """One progress bar with time left, or a line now and then in a log."""

    def __init__(self, display: Progress, title: str, total: int, done: int):
        self._display = display
        self._title = title
        self._total = total
        self._first = self.done = done
        self._task = display.add_task(title, total=total, note="")
        if done:
            display.reset(self._task, completed=done, total=total)
        self._started = self._said = time.monotonic()

    def advance(self, number: int, note: str = "") -> None:
        """Counts things done; the note stands at the end of the line."""
        self.done += number
        self._display.update(self._task, advance=number, note=note)
        now = time.monotonic()
        if not self._display.console.is_terminal:
            if now - self._said >= SECONDS_A_LINE:
                self._said = now
                rate = (self.done - self._first) / (now - self._started)
                left = (self._total - self.done) / rate
                say(
                    f"{self._title}: {self.done}/{self._total}, "
                    f"{rate:.2f}/s, {left:.0f} s left {note}"
                )


@contextlib.contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Shows a progress bar on stderr while the block runs.

    Where stderr is a file, what takes long says a line now and then.

    Args:
        title: str. What is being done.
        total: int. Things to do.
        done: int. Things done before, not counted in the rate.
    """
    console = Console(stderr=True)
    display = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        disable=not console.is_terminal,
    )
    with display:
        yield Bar(display, title, total, done)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Prints a table to stdout; columns after the first to the right."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        side = "right" if place else "left"
        table.add_column(column, justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    _to_stdout(table)


def print_tree(
    title: str, parents: Mapping[str, Sequence[str]], labels: Mapping[str, str]
) -> None:
    """Prints a tree to stdout; what has several parents stands under the first.

    Args:
        title: str. Printed above.
        parents: of each node those of its parents that are in the tree.
        labels: what is printed for each node, in the order of siblings.
    """
    tree = Tree(title, guide_style="")
    branches: dict[str, Tree] = {}

    def branch(node: str) -> Tree:
        if node not in branches:
            above = parents[node]
            root = branch(above[0]) if above else tree
            branches[node] = root.add(Text(labels[node]))
        return branches[node]

    for node in labels:
        branch(node)
    _to_stdout(tree)


def silence() -> None:
    """Sends all that this process writes to stderr into the void.

    For worker processes: their errors reach the parent as exceptions.
    """
    with open(os.devnull, "wb") as void:
        os.dup2(void.fileno(), 2)


def _to_stdout(content: object) -> None:
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES  # nothing is cut for want of room
    console.print(content)


def say(line: str) -> None:
    """Prints one line to stderr."""
    Console(stderr=True, highlight=False, markup=False).print(
        line, soft_wrap=True
    )
