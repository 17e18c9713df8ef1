"""How the commands answer: aligned columns, or one JSON document."""

import json
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def print_rows(rows: list[dict[str, Any]], as_json: bool, nothing: str) -> None:
    """Rows as aligned columns, or one JSON array; `nothing` where there are none."""
    if as_json:
        click.echo(json.dumps(rows, default=as_text, indent=1))
        return
    if not rows:
        click.echo(nothing)
        return
    header = list(rows[0])
    lines = [header, *([as_text(row[name]) for name in header] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def print_row(row: dict[str, Any], as_json: bool) -> None:
    """One thing, a line for each of its values, or one JSON object."""
    if as_json:
        click.echo(json.dumps(row, default=as_text, indent=1))
        return
    width = max(map(len, row))
    for name, value in row.items():
        click.echo(f"{name:<{width}}  {as_text(value)}".rstrip())


def print_changes(changes: list[dict[str, Any]]) -> None:
    """What an operation changed or would change, as `python -m stacks` shows it."""
    # Lazily: the web process that imports this module must not load Pulumi.
    from stacks import render, terminal
    from webapp.adapters.orchestrator import changes_from

    render.print_changes(terminal.console(), changes_from(changes))


def as_text(value: Any) -> str:
    """A value as people read it; "" for nothing."""
    if value is None or value == []:
        return ""
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%SZ"))
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)
