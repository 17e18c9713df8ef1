"""`flask users`, `instances`, `stacks`, `worker`: the fleet on the command line."""

import getpass
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import structlog
from flask.cli import AppGroup
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts.models import ROLES, User
from webapp.errors import ClawdetError, Invalid, NotFound
from webapp.fleet import queries, service
from webapp.fleet.blueprint import fleet
from webapp.http import logs
from webapp.http.context import here
from webapp.instances import facts
from webapp.instances import service as instances
from webapp.instances.models import Instance
from webapp.instances.states import Desired

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
slug_argument = click.argument("slug")


class Commands(AppGroup):
    """A group whose errors say what happened and what to do next."""

    def invoke(self, ctx: click.Context) -> Any:
        """Exit code 1 on an error of ours."""
        if not structlog.is_configured():
            logs.configure(level=30)  # what people asked for goes to stdout, and nothing else
        try:
            return super().invoke(ctx)
        except ClawdetError as error:
            click.echo(f"error: {error.title}", err=True)
            if error.detail:
                click.echo(f"next:  {error.detail}", err=True)
            ctx.exit(1)


users = Commands("users", help="Who has signed in, and what they pay.")
instances_ = Commands("instances", help="Instances: list, look, mend, end.")
stacks = Commands("stacks", help="Stacks, for plain pulumi.")
worker = Commands("worker", help="The process that runs jobs.")
for group in (users, instances_, stacks, worker):
    fleet.cli.add_command(group)


@users.command("list")
@click.option("--q", default="", help="Part of a handle, name or e-mail address.")
@as_json
def list_users(q: str, as_json: bool) -> None:
    """List users, newest first."""
    query = select(User).order_by(User.created_at.desc())
    if q:
        columns = (User.x_username, User.x_name, User.email)
        query = query.where(or_(*(queries.contains(column, q) for column in columns)))
    with here().db.read() as session:
        rows = [_of_user(session, user) for user in session.scalars(query)]
    _print(rows, as_json, "nobody has signed in yet; open the landing page and sign in with X")


@users.command("show")
@click.argument("name")
@as_json
def show_user(name: str, as_json: bool) -> None:
    """Show a user, by X handle or id."""
    with here().db.read() as session:
        _print_one(_of_user(session, _user(session, name)), as_json)


@users.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
def give_role(name: str, role: str) -> None:
    """Give a user a role: viewers see the fleet, operators change it, admins give roles."""
    with here().db.begin() as session:
        user = _user(session, name)
        service.set_role(user, role, _actor())
        click.echo(f"{user.x_username} is {role} now")


@users.command("pay")
@click.argument("name")
@click.option("--reason", default="", help="Who agreed to what; kept with your name.")
@click.option("--end", is_flag=True, help="End the arrangement instead; deletes the instance.")
def pay(name: str, reason: str, end: bool) -> None:
    """Note a payment by arrangement, or its end."""
    c = here()
    with c.db.begin() as session:
        user = _user(session, name)
        if end:
            service.end_payment(session, c.jobs, user, actor=_actor())
            click.echo(f"{user.x_username}: the arrangement is over; the instance is deleted")
            return
        service.pay(session, c.jobs, user, actor=_actor(), reason=reason)
        click.echo(f"{user.x_username}: paid by arrangement; next: flask instances list")


@instances_.command("list")
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
    _print(rows, as_json, "no instance fits; the first customer makes the first one")


@instances_.command("show")
@slug_argument
@as_json
def show_instance(slug: str, as_json: bool) -> None:
    """Show an instance."""
    with here().db.read() as session:
        _print_one(_of_instance(session, queries.find(session, slug)), as_json)


@instances_.command("retry")
@slug_argument
def retry(slug: str) -> None:
    """Go on from the step that failed."""
    with here().db.begin() as session:
        instances.retry(session, here().jobs, queries.find(session, slug), actor=_actor())
    click.echo(f"{slug} goes on; next: flask instances show {slug}")


@instances_.command("suspend")
@slug_argument
@click.option("--reason", required=True, help="Why; kept with your name.")
def suspend(slug: str, reason: str) -> None:
    """Switch an instance off and keep its disk, whatever is paid, until it is resumed."""
    _want(slug, "suspended", reason)
    click.echo(f"{slug} is being suspended until: flask instances resume {slug}")


@instances_.command("resume")
@slug_argument
@click.option("--reason", required=True, help="Why; kept with your name.")
def resume(slug: str, reason: str) -> None:
    """Let a suspended instance run again."""
    _want(slug, "running", reason)
    click.echo(f"{slug} is being switched on")


@instances_.command("delete")
@slug_argument
@click.option("--reason", required=True, help="Why; kept with your name.")
@click.option("--yes", default="", metavar="SLUG", help="The name again, to confirm.")
def delete(slug: str, reason: str, yes: str) -> None:
    """Back an instance up for the last time and delete it."""
    if yes != slug:
        raise Invalid("Not confirmed.", f"Add --yes {slug}: the server and its disk are lost.")
    _want(slug, "deleted", reason)
    click.echo(f"{slug} is backed up and deleted; next: flask instances show {slug}")


@instances_.command("drift")
@slug_argument
@click.option("--check", is_flag=True, help="Ask the worker to look now.")
@as_json
def drift(slug: str, check: bool, as_json: bool) -> None:
    """Show how an instance differs from what should be, property by property."""
    c = here()
    if check:
        with c.db.begin() as session:
            instances.ask(session, c.jobs, queries.find(session, slug), "drift", actor=_actor())
        click.echo(f"asked for; next: flask instances drift {slug}", err=True)
        return
    with c.db.read() as session:
        found = queries.find(session, slug)
    _print(found.drift, as_json, f"no drift, as of {_text(found.drift_at) or 'never'}")


@stacks.command("write-settings")
@slug_argument
def write_settings(slug: str) -> None:
    """Write what plain `pulumi preview -s SLUG` needs, and print its environment."""
    with here().db.read() as session:
        found = queries.find(session, slug)
    if found.status == "deleted":
        raise NotFound(f"{slug} was deleted.", "Its stack is gone; flask instances list --q says.")
    project = _configure(slug)
    elsewhere = "" if project == Path.cwd() else f" -C {shlex.quote(str(project))}"
    click.echo(
        f'# {slug} has today\'s settings. Next: eval "$(flask stacks write-settings {slug})"; '
        f"pulumi preview -s {slug}{elsewhere}",
        err=True,
    )


@worker.command("status")
@as_json
def status(as_json: bool) -> None:
    """Show the queues and when the sweeps last ran."""
    c = here()
    with c.db.read() as session:
        queues = [vars(queue) for queue in c.jobs.status(session)]
        sweeps = [
            {"sweep": name, "last": _text(fact.at) if fact else "never"}
            for name in ("capacity", "orphans", "stripe_events_looked_at")
            for fact in (facts.find(session, name),)
        ]
    if as_json:
        click.echo(json.dumps({"queues": queues, "sweeps": sweeps}, default=_text, indent=1))
        return
    _print(queues, False, "")
    _print(sweeps, False, "")


@worker.command("run")
@click.option("--name", default="", help="This worker's name (the host's).")
def run(name: str) -> None:
    """Run a worker in this terminal, until Ctrl+C."""
    named = ["--name", name] if name else []
    os.execv(sys.executable, [sys.executable, "-m", "webapp.worker", *named])


def _configure(slug: str) -> Path:
    """Renew the stack's settings, print the environment; the folder that pulumi is to run in."""
    # Lazily: the web process that imports this module must not load Pulumi.
    from stacks.__main__ import main
    from stacks.errors import StackError, UnknownStack
    from stacks.operations import Stacks
    from stacks.settings import Settings

    try:
        found = Stacks(Settings.read())
        try:
            found.configure(slug)
        except UnknownStack:
            found.init(slug)
    except StackError as error:
        raise ClawdetError(str(error), error.remedy) from error
    if main(["env"]) != 0:
        raise ClawdetError("The environment is not complete.", "Run: python -m stacks doctor")
    return found.settings.clawdet_project


def _want(slug: str, desired: Desired, reason: str) -> None:
    c = here()
    with c.db.begin() as session:
        found = queries.find(session, slug)
        instances.want(session, c.jobs, found, actor=_actor(), why=reason, desired=desired)
        found.held = desired == "suspended"


def _user(session: Session, name: str) -> User:
    query = select(User).where(or_(User.id == name, User.x_username == name.lstrip("@")))
    found = session.scalar(query.order_by(User.deleted_at.is_not(None)))
    if found is None:
        raise NotFound(f"There is no user {name}.", "List them: flask users list")
    return found


def _actor() -> str:
    return f"operator {getpass.getuser()}"


def _of_user(session: Session, user: User) -> dict[str, Any]:
    instance = instances.of_user(session, user.id)
    return {
        "id": user.id,
        "handle": user.x_username,
        "email": user.email,
        "role": user.role,
        "paid": (user.payment_method or "yes") if user.paid_at else "no",
        "instance": instance.slug if instance else None,
        "since": user.created_at,
    }


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


def _print(rows: list[dict[str, Any]], as_json: bool, nothing: str) -> None:
    """Rows as aligned columns, or one JSON array; `nothing` where there are none."""
    if as_json:
        click.echo(json.dumps(rows, default=_text, indent=1))
        return
    if not rows:
        click.echo(nothing)
        return
    header = list(rows[0])
    lines = [header, *([_text(row[name]) for name in header] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def _print_one(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(row, default=_text, indent=1))
        return
    width = max(map(len, row))
    for name, value in row.items():
        click.echo(f"{name:<{width}}  {_text(value)}".rstrip())


def _text(value: Any) -> str:
    if value is None or value == []:
        return ""
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%SZ"))
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)
