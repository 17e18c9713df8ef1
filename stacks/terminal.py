"""How commands talk in a terminal: aligned, coloured only for people, a spinner while one waits."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from stacks.fetching import Progress

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def console() -> Console:
    """For what a command answers: colour on a terminal only, lines never cut in a pipe."""
    wide = None if sys.stdout.isatty() else 10_000
    return Console(width=wide, highlight=False, emoji=False)


@contextmanager
def progress() -> Iterator[Progress]:
    """A `Progress` on stderr: on a terminal a spinner with the elapsed time, else plain lines."""
    errors = Console(stderr=True, highlight=False, emoji=False)
    if not errors.is_terminal:
        started = time.monotonic()
        yield lambda line: print(
            f"{time.monotonic() - started:5.0f} s  {line}", file=sys.stderr, flush=True
        )
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with RichProgress(*columns, console=errors, transient=True) as live:
        task = live.add_task("", total=None, visible=False)

        def say(line: str) -> None:
            passing = line.endswith("…")
            live.update(task, description=line if passing else "", visible=passing)
            if not passing:
                live.console.print(Text(line))

        yield say


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> Table:
    """Aligned columns; a cell that is a word of STYLES gets its colour."""
    grid = Table(box=None, show_header=bool(header), pad_edge=False, padding=(0, 2, 0, 0))
    for name in header or ("",) * len(rows[0]) if rows else ():
        grid.add_column(name, overflow="fold", style="")
    for row in rows:
        grid.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return grid
