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
    """Tables per number of stacks, then the targets."""
    results = Results(measured)
    for stacks in results.sizes:
        console.print(f"\n[bold]{stacks} at once[/]")
        console.print(_table(results, stacks))
    console.print("\nx plain: seconds in units of plain `pulumi`; times faster: than one Python")
    console.print("process each. MB: peak PSS of all processes of the way, per operation.")
    for way, words in WAYS.items():
        console.print(f"  {way:8}{words}", markup=False)
    console.print("\n[bold]Targets[/]")
    console.print(_targets(judged))


def _table(results: Results, stacks: int) -> Table:
    ways = [way for way in WAYS if results.of(way, stacks)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("operation")
    ours = [way for way in ways if way not in (PLAIN, USUAL)]
    for column in (
        *(f"{way} s" for way in ways),
        *(f"{way} x plain" for way in ours),
        *(f"{way} times faster" for way in ours),
        *(f"{way} MB" for way in ways),
    ):
        table.add_column(column, justify="right")
    for operation in OPERATIONS:
        if any(results.get(way, operation, stacks) for way in ways):
            table.add_row(operation, *_row(results, operation, stacks, ways, ours))
    return table


def _row(
    results: Results, operation: str, stacks: int, ways: Sequence[str], ours: Sequence[str]
) -> list[str]:
    cells = [results.get(way, operation, stacks) for way in ways]
    plain = [results.ratios(way, PLAIN, stacks).get(operation) for way in ours]
    usual = [results.ratios(USUAL, way, stacks).get(operation) for way in ours]
    return [
        *(f"{cell.seconds:.2f}" if cell else "" for cell in cells),
        *(f"{ratio:.2f}" if ratio else "" for ratio in plain),
        *(f"{ratio:.1f}" if ratio else "" for ratio in usual),
        *(f"{cell.mb_per_operation:.0f}" if cell else "" for cell in cells),
    ]


def _targets(judged: Sequence[Target]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", "target", "wanted", "got"):
        table.add_column(column)
    for target in judged:
        mark = "[green]ok[/]" if target.ok else "[red]missed[/]"
        table.add_row(mark, target.what, target.wanted, target.got)
    return table
