"""`flask health`: whether all that Clawdet depends on works, as last seen."""

import click

from webapp import clock
from webapp.fleet import checks
from webapp.fleet.blueprint import fleet
from webapp.fleet.commands.printing import as_json, print_row, print_rows
from webapp.http.context import here


@fleet.cli.command("health")
@as_json
@click.pass_context
def health(context: click.Context, as_json: bool) -> None:
    """Show what is well, and what to do about what is not.

    Exit code 1 where something is not.
    """
    c = here()
    found = checks.look(c.db, c.jobs, c.settings, clock.now())
    rows = [
        {"check": one.name, "ok": one.ok, "seen": one.text, "at": one.seen_at}
        | ({"remedy": one.remedy} if as_json else {})
        for one in found.checks
    ]
    if as_json:
        print_row({"ok": found.ok, "checks": rows, "orphans": found.orphans}, as_json)
    else:
        print_rows(rows, as_json, "")
        if found.orphans:
            print_rows(found.orphans, as_json, "")
    for one in found.checks:
        if not one.ok:
            click.echo(f"next:  {one.name}: {one.remedy}", err=True)
    if not found.ok:
        context.exit(1)
