"""Steps of a demonstration: each timed, each says what held, the first that doesn't ends it."""

import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Unfulfilled(Exception):
    """Something that should have held did not."""


def expect(holds: bool, what: str) -> None:
    """Raise Unfulfilled, saying `what`, unless it holds."""
    if not holds:
        raise Unfulfilled(what)


@dataclass
class Step:
    """One row of the closing table."""

    title: str
    seconds: float = 0.0
    ok: bool = False
    remark: str = ""


@dataclass
class Steps:
    """The steps so far, printed as they happen."""

    console: Console
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """One step; yields a function that sets its remark in the table."""
        self.console.print(Text(f"\n▸ {title}", style="bold"))
        step = Step(title)
        self.steps.append(step)
        began = time.monotonic()

        def remark(text: str) -> None:
            step.remark = text
            self.console.print(Text(f"  {text}"))

        try:
            yield remark
            step.ok = True
        finally:
            step.seconds = time.monotonic() - began

    def print_table(self) -> None:
        """Every step, its time and what it showed."""
        self.console.print()
        self.console.print(self._table())

    def save_table(self, file: Path) -> None:
        """The table as a picture (SVG)."""
        recording = Console(record=True, width=132, file=io.StringIO(), highlight=False)
        recording.print(self._table())
        svg = recording.export_svg(title="make demo")
        # rich would have the reader's browser fetch a font from elsewhere.
        file.write_text(re.sub(r"@font-face {.*?}\s*", "", svg, flags=re.DOTALL))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("")
        table.add_column("step")
        table.add_column("seconds", justify="right")
        table.add_column("")
        for step in self.steps:
            mark = Text("ok", style="green") if step.ok else Text("failed", style="red")
            table.add_row(mark, step.title, f"{step.seconds:.1f}", step.remark)
        total = sum(step.seconds for step in self.steps)
        table.add_row("", "in all", f"{total:.1f}", "")
        return table
