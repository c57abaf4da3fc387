"""What people see: progress bars and tables, on stderr unless asked for."""

import contextlib
import datetime
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
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

# Seconds between two lines where stderr is a file and no terminal.
SECONDS_A_LINE = 30
UNKNOWN = "-:--:--"  # the time left before there is a rate
WIDTH_IN_FILES = 1000


class Bar:
    """A progress bar with the time left, or now and then a line in a log.

    The rate counts neither what was found in a cache nor the first advances:
    in the meantime functions are traced and compiled.

    Attributes:
        total: int. Number of things to do; it may be lowered.
        done: int. Number of things that are done.
    """

    def __init__(
        self, display: Progress, title: str, total: int, done: int, warm_up: int
    ):
        self._display = display
        self._title = title
        self.total = total
        self.done = done
        self._task = display.add_task(
            title, total=total, completed=done, left=UNKNOWN, note=""
        )
        self._logged = time.monotonic()
        self._warm_up = warm_up  # advances that are yet to be left out
        self._rated_since, self._rated = self._logged, 0

    def advance(self, number: int, note: str = "") -> None:
        """Counts `number` more as done; the note ends the line."""
        self.done += number
        if self._warm_up > 0:
            self._warm_up -= 1
            self._rated_since = time.monotonic()
        else:
            self._rated += number
        self._show(note)

    def skip(self, number: int) -> None:
        """Counts `number` more as done that took no work."""
        self.done += number
        self._show("")

    def _show(self, note: str) -> None:
        now = time.monotonic()
        seconds = now - self._rated_since
        rate = self._rated / seconds if self._rated and seconds else None
        left = UNKNOWN
        if rate:
            left_seconds = round(max(0, self.total - self.done) / rate)
            left = str(datetime.timedelta(seconds=left_seconds))
        self._display.update(
            self._task,
            completed=self.done,
            total=self.total,
            left=left,
            note=note,
        )
        if self._display.console.is_terminal:
            return
        if now - self._logged >= SECONDS_A_LINE:
            self._logged = now
            parts = [f"{self._title}: {self.done:,}/{self.total:,}"]
            if rate:
                parts += [f"{rate:,.2f}/s", f"{left} left"]
            say(", ".join([*parts, note] if note else parts))


@contextlib.contextmanager
def progress(
    title: str, total: int, done: int = 0, warm_up: int = 1
) -> Iterator[Bar]:
    """Shows a progress bar on stderr while the block runs.

    Where stderr is not a terminal, a line is written every
    `SECONDS_A_LINE` seconds instead.

    Args:
        title: str. What is being done.
        total: int. Number of things to do.
        done: int. How many of them were done before; the rate does not count
            them.
        warm_up: int. Number of first advances that the rate does not count;
            where several processes work at a time, as many as these.
    """
    console = Console(stderr=True)
    display = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]} left", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        disable=not console.is_terminal,
    )
    with display:
        yield Bar(display, title, total, done, warm_up)


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
