"""`flask instances`: which there are, how each is, and what should be of it."""

from typing import Any

import click
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts.models import User
from webapp.errors import Invalid
from webapp.fleet import queries
from webapp.fleet.commands.groups import actor, slug_argument
from webapp.fleet.commands.groups import instances as group
from webapp.fleet.commands.printing import as_json, as_text, print_row, print_rows
from webapp.http.context import here
from webapp.instances import service, timeline
from webapp.instances.models import Instance
from webapp.instances.states import Desired


@group.command("list")
@click.option("--q", default="", help="Part of a name, handle, address.")
@click.option("--state", default="", help=f"One of: {', '.join(queries.STATES)}.")
@as_json
def list_instances(q: str, state: str, as_json: bool) -> None:
    """List instances: what needs somebody first."""
    c, at = here(), clock.now()
    with c.db.read() as session:
        rows: list[dict[str, Any]] = []
        page = 1
        while True:
            filters = queries.Filters(q=q, state=state, page=page)
            found = queries.fleet(session, filters, at, c.settings.clawdet_live_deadline_s)
            rows += [_of_row(row) for row in found.rows]
            if not found.more:
                break
            page += 1
    rows.sort(key=lambda row: not row["needs"])
    print_rows(rows, as_json, "no instance fits; the first customer makes the first one")


@group.command("show")
@slug_argument
@as_json
def show_instance(slug: str, as_json: bool) -> None:
    """Show an instance."""
    with here().db.read() as session:
        print_row(_of_instance(session, queries.find(session, slug)), as_json)


@group.command("retry")
@slug_argument
def retry(slug: str) -> None:
    """Go on from the step that failed."""
    with here().db.begin() as session:
        service.retry(session, here().jobs, queries.find(session, slug), actor=actor())
    click.echo(f"{slug} goes on; next: flask instances show {slug}")


@group.command("suspend")
@slug_argument
@click.option("--reason", required=True, help="Why; kept with your name.")
def suspend(slug: str, reason: str) -> None:
    """Switch an instance off until it is resumed, paid or not."""
    _want(slug, "suspended", reason)
    click.echo(f"{slug} is being suspended until: flask instances resume {slug}")


@group.command("resume")
@slug_argument
@click.option("--reason", required=True, help="Why; kept with your name.")
def resume(slug: str, reason: str) -> None:
    """Let a suspended instance run again."""
    _want(slug, "running", reason)
    click.echo(f"{slug} is being switched on")


@group.command("power")
@slug_argument
@click.argument("power", type=click.Choice(["on", "off"]))
def switch(slug: str, power: str) -> None:
    """Switch an instance on or off, as its customer may."""
    c = here()
    with c.db.begin() as session:
        found = queries.find(session, slug)
        why, on = "by command", power == "on"
        service.want(session, c.jobs, found, actor=actor(), why=why, powered_on=on)
    click.echo(f"{slug} is being switched {power}")


@group.command("delete")
@slug_argument
@click.option("--reason", required=True, help="Why; kept with your name.")
@click.option("--yes", default="", metavar="SLUG", help="The name again, to confirm.")
def delete(slug: str, reason: str, yes: str) -> None:
    """Back an instance up for the last time and delete it."""
    if yes != slug:
        raise Invalid("Not confirmed.", f"Add --yes {slug}: the server and its disk are lost.")
    _want(slug, "deleted", reason)
    click.echo(f"{slug} is backed up and deleted; next: flask instances show {slug}")


@group.command("history")
@slug_argument
@click.option(
    "--number", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many."
)
@as_json
def history(slug: str, number: int, as_json: bool) -> None:
    """Show who did what to an instance, when and why."""
    with here().db.read() as session:
        events, _ = timeline.read_history(session, queries.find(session, slug).id, 1, number)
    names = ("at", "actor", "text", "why")
    rows = [{name: getattr(event, name) for name in names} for event in events]
    print_rows(rows, as_json, "nothing yet")


@group.command("drift")
@slug_argument
@click.option("--check", is_flag=True, help="Ask the worker to look now.")
@as_json
def drift(slug: str, check: bool, as_json: bool) -> None:
    """Show how an instance differs from what should be."""
    c = here()
    if check:
        with c.db.begin() as session:
            service.ask(session, c.jobs, queries.find(session, slug), "drift", actor=actor())
        click.echo(f"asked for; next: flask instances drift {slug}", err=True)
        return
    with c.db.read() as session:
        found = queries.find(session, slug)
    print_rows(found.drift, as_json, f"no drift, as of {as_text(found.drift_at) or 'never'}")


def _want(slug: str, desired: Desired, reason: str) -> None:
    c = here()
    with c.db.begin() as session:
        found = queries.find(session, slug)
        service.want(session, c.jobs, found, actor=actor(), why=reason, desired=desired)
        found.held = desired == "suspended"


def _of_row(row: queries.Row) -> dict[str, Any]:
    one = row.instance
    return {
        "name": one.slug,
        "customer": row.user.x_username,
        "needs": row.need,
        "state": one.status,
        "since": one.status_since,
        "lag": row.lag,
        "drift": len(one.drift),
        "place": one.location,
        "address": one.ipv4,
    }


def _of_instance(session: Session, instance: Instance) -> dict[str, Any]:
    names = (
        "id slug desired powered_on status status_since failed_step failure remedy needs_approval "
        "generation observed_generation server_id ipv4 location release gateway_ms seen_at "
        "drift_at final_backup created_at live_at deleted_at"
    )
    user = session.get_one(User, instance.user_id)
    found = {name: getattr(instance, name) for name in names.split()}
    return {**found, "customer": user.x_username, "drift": instance.drift}
