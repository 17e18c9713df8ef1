"""Plans, results and progress for people: aligned, coloured on a terminal only."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from stacks.events import SERVER_TYPE, Change, Progress
from stacks.operations import Result

SIGNS = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "refresh": ("~", "yellow"),
    "delete": ("-", "red"),
    "replace": ("±", "red"),
    "create-replacement": ("+", "red"),
    "delete-replaced": ("-", "red"),
}
VALUE_WIDTH = 60


def print_progress(console: Console, progress: Progress) -> None:
    """One line for a step that ended or said something; none for what only groups others."""
    if progress.state == "started" or (progress.state == "done" and not progress.phase):
        return
    phase = f"{progress.phase or '-':<16}"
    if progress.state == "said":
        console.print(Text(f"             {phase} {progress.resource:<12} │ {progress.text}"))
        return
    style = "red" if progress.state == "failed" else ""
    words = f"{progress.op} {progress.state}"
    line = f"  {progress.elapsed_s:7.1f} s  {phase} {progress.resource:<12} {words}"
    console.print(Text(line, style=style))


def print_changes(console: Console, changes: tuple[Change, ...]) -> None:
    """Resource by resource, property by property; a server's end can't be overlooked."""
    for change in changes:
        sign, style = SIGNS.get(change.op, ("?", ""))
        kind = change.type.rsplit(":", 1)[-1]
        console.print(Text(f"  {sign} {change.op:<18} {kind:<20} {change.name}", style=style))
        if change.type == SERVER_TYPE and change.op not in ("create", "update", "refresh"):
            warning = "      THIS ENDS THE SERVER and everything on it"
            console.print(Text(warning, style="bold red"))
        for item in change.properties:
            before, after = _value(item.before), _value(item.after)
            console.print(Text(f"      {item.path:<22} {before} → {after}"))


def print_result(console: Console, result: Result) -> None:
    """What an operation did or would do, and how long it took."""
    print_changes(console, result.changes)
    for note in result.notes:
        console.print(Text(f"  note: {note}"))
    counts = ", ".join(f"{n} {op}" for op, n in sorted(result.counts.items())) or "nothing"
    console.print(Text(f"{result.operation} of {result.stack}: {counts} in {result.seconds:.1f} s"))


def to_json(result: Result) -> str:
    """A Result as one JSON document."""
    return json.dumps(asdict(result) | {"changed": result.changed}, indent=1, default=str)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.replace("\n", "⏎")
    return text if len(text) <= VALUE_WIDTH else f"{text[:VALUE_WIDTH]}…"
