"""The measurements as tables for people, or as one JSON document."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import psutil
from rich.console import Console
from rich.table import Table

from bench.engine.model import (
    OPERATIONS,
    PLAIN,
    USUAL,
    WAYS,
    Cell,
    Measured,
    Results,
    Target,
)


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "processors": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def to_json(
    measured: Sequence[Measured], judged: Sequence[Target], about: dict[str, object]
) -> str:
    """Everything, single measurements included."""
    return json.dumps(
        {
            "machine": about,
            "ways": WAYS,
            "measured": [asdict(one) for one in measured],
            "targets": [asdict(target) for target in judged],
        },
        indent=1,
    )


def print_report(console: Console, measured: Sequence[Measured], judged: Sequence[Target]) -> None:
    """What each way is, a table per number of stacks, then the targets."""
    results = Results(measured)
    for way, words in WAYS.items():
        console.print(f"{way:8} {words}", markup=False)
    console.print(
        "\nx plain: seconds in units of `plain`; x faster: seconds of `usual` in its own."
    )
    console.print("CPU s and MB (peak proportional set size) are per operation, over all the way's")
    console.print("processes; the sandbox's are left out.")
    for stacks in results.sizes:
        console.print(f"\n[bold]{stacks} at once[/]")
        console.print(_table(results, stacks))
    console.print("\n[bold]Targets[/]")
    console.print(_targets(judged))


def _table(results: Results, stacks: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("operation")
    table.add_column("way")
    for column in ("seconds", "x plain", "x faster", "CPU s", "MB", "runs"):
        table.add_column(column, justify="right")
    for operation in OPERATIONS:
        cells = [cell for way in WAYS if (cell := results.get(way, operation, stacks))]
        for number, cell in enumerate(cells):
            last = number == len(cells) - 1
            table.add_row("" if number else operation, *_row(results, cell), end_section=last)
    return table


def _row(results: Results, cell: Cell) -> list[str]:
    plain = results.ratios(cell.way, PLAIN, cell.stacks).get(cell.operation)
    usual = results.ratios(USUAL, cell.way, cell.stacks).get(cell.operation)
    return [
        cell.way,
        f"{cell.seconds:.2f}",
        f"{plain:.2f}" if plain else "",
        f"{usual:.1f}" if usual else "",
        f"{cell.cpu_s_per_operation:.1f}",
        f"{cell.mb_per_operation:.0f}",
        str(cell.runs),
    ]


def _targets(judged: Sequence[Target]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", "target", "wanted", "got"):
        table.add_column(column)
    for target in judged:
        mark = "[green]ok[/]" if target.ok else "[red]missed[/]"
        table.add_row(mark, target.what, target.wanted, target.got)
    return table
