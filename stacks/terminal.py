"""How commands talk in a terminal: aligned, coloured only for people, a spinner while one waits."""

import os
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


class _Lasting(Console):
    """Says nothing more once its reader has left (head, less); what was begun goes on."""

    def on_broken_pipe(self) -> None:
        """Not rich's own SystemExit: in the thread that hears the engine it would hang it."""
        self.quiet = True
        drop_stdout()


def console(stderr: bool = False) -> Console:
    """For what a command answers: colour on a terminal only, lines never cut in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() else 10_000
    return _Lasting(stderr=stderr, width=wide, highlight=False, emoji=False)


def drop_stdout() -> None:
    """Nobody reads it any more: what Python still holds for it must not fail at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


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
