"""`flask instances preview`, `apply` and the like: asked for, then followed to the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.errors import ClawdetError, Conflict, Invalid
from webapp.fleet import queries
from webapp.fleet import service as fleet_service
from webapp.fleet.commands.groups import actor, instances, slug_argument
from webapp.fleet.commands.printing import as_json, as_text, print_changes, print_rows
from webapp.http.context import here
from webapp.instances import service, timeline
from webapp.instances.models import Action, ActionKind, Instance, Operation, Progress

POLL_S = 0.3
PATIENCE_S = 15.0  # a worker that is there begins within seconds
QUIET_S = 120.0  # longer than any step of an install says nothing
KINDS: dict[ActionKind, str] = {"apply": "up", "rotate_token": "up"}
"""The operation in which an action is done, where that has another name."""

Command = Callable[..., None]

wait_option: Callable[[Command], Command] = click.option(
    "--wait/--no-wait", default=True, help="Follow it to its end (the default), or only ask."
)


@dataclass(frozen=True)
class _Asked:
    """What was asked for, and the latest that was known before it was."""

    slug: str
    instance_id: str
    action_id: int
    progress_id: int
    operation_id: int


@instances.command("preview")
@slug_argument
@wait_option
def preview(slug: str, wait: bool) -> None:
    """Show what applying would change, property by property."""
    _do(slug, "preview", wait)


@instances.command("apply")
@slug_argument
@wait_option
@click.option("--yes", default="", metavar="SLUG", help="The name again: the server may be lost.")
def apply(slug: str, wait: bool, yes: str) -> None:
    """Make the world as it should be, with today's release.

    Settings and credentials, too, are those of today.
    """
    if yes not in ("", slug):
        raise Invalid("Not confirmed.", f"Nothing was asked for; to approve, add --yes {slug}.")
    _do(slug, "apply", wait, approved=yes == slug)


@instances.command("refresh")
@slug_argument
@wait_option
def refresh(slug: str, wait: bool) -> None:
    """Write into the stack's state what the clouds have."""
    _do(slug, "refresh", wait)


@instances.command("restart")
@slug_argument
@wait_option
def restart(slug: str, wait: bool) -> None:
    """Shut the server down and switch it on again."""
    _do(slug, "restart", wait)


@instances.command("rotate-token")
@slug_argument
@wait_option
def rotate_token(slug: str, wait: bool) -> None:
    """Give the gateway a new token; the old one ends."""
    _do(slug, "rotate_token", wait)


@instances.command("operations")
@slug_argument
@as_json
def list_operations(slug: str, as_json: bool) -> None:
    """List what was done to an instance, newest first."""
    with here().db.read() as session:
        found = queries.operations(session, queries.find(session, slug).id)
        rows = [_of_operation(operation) for operation in found]
    print_rows(rows, as_json, f"nothing yet; next: flask instances show {slug}")


@instances.command("log")
@slug_argument
@click.argument("operation", type=click.IntRange(1, 2**62), required=False)
def log(slug: str, operation: int | None) -> None:
    """Show how an operation went: the last one, or by its id."""
    with here().db.read() as session:
        found = queries.find(session, slug)
        shown = _operation(session, found, operation)
        rows = timeline.read_log(session, found.id, shown.id)
    took = (
        f", {(shown.ended_at - shown.started_at).total_seconds():.1f} s" if shown.ended_at else ""
    )
    click.echo(f"{shown.kind} of {slug}: {shown.outcome or 'running'}{took}")
    print_changes(shown.changes)
    for row in rows:
        _say(row)
    if shown.error:
        click.echo(shown.error, err=True)


@instances.command("cancel")
@slug_argument
def cancel(slug: str) -> None:
    """Interrupt what runs on an instance, and leave its stack clean."""
    with here().db.begin() as session:
        found = queries.find(session, slug)
        running = next(
            (o for o in queries.operations(session, found.id, 1) if not o.ended_at), None
        )
        if running is None:
            raise Conflict(f"Nothing runs on {slug}.", f"See: flask instances operations {slug}")
        fleet_service.cancel(session, found, running.id, actor())
    click.echo(f"the {running.kind} is being cancelled; next: flask instances log {slug}")


def _do(slug: str, kind: ActionKind, wait: bool, approved: bool = False) -> None:
    c = here()
    with c.db.begin() as session:
        found = queries.find(session, slug)
        known = (_latest(session, Progress, found), _latest(session, Operation, found))
        action = service.ask(session, c.jobs, found, kind, actor=actor(), approved=approved)
        asked = _Asked(slug, found.id, action.id, *known)
    if not wait:
        click.echo(f"asked for; next: flask instances operations {slug}")
        return
    _follow(asked)
    _conclude(asked)


def _follow(asked: _Asked) -> None:
    """Print the log as it grows, until what was asked for is done."""
    after, hint_at = asked.progress_id, time.monotonic() + PATIENCE_S
    claimed = False
    while True:
        with here().db.read() as session:
            action = session.get_one(Action, asked.action_id)
            rows = timeline.told_since(session, asked.instance_id, after)
        for row in rows:
            _say(row)
        after = rows[-1].id if rows else after
        if action.done_at:
            return
        if rows or (action.claimed_at and not claimed):
            hint_at = time.monotonic() + QUIET_S
        claimed = action.claimed_at is not None
        if time.monotonic() > hint_at:
            click.echo("it waits; is a worker running? See: flask worker status", err=True)
            hint_at = float("inf")
        time.sleep(POLL_S)


def _conclude(asked: _Asked) -> None:
    """Say how it ended. Raises ClawdetError if it failed."""
    with here().db.read() as session:
        action = session.get_one(Action, asked.action_id)
        done = _operation_of(session, asked, action.kind)
    if action.error:
        further = f"See: flask instances operations {asked.slug}"
        if done and done.outcome == "needs_approval":
            further = f"To approve: flask instances apply {asked.slug} --yes {asked.slug}"
        raise ClawdetError(action.error, further)
    changes = done.changes if done else []
    print_changes(changes)
    click.echo(f"{action.kind} of {asked.slug}: {_count(action.kind, len(changes))}")


def _count(kind: ActionKind, changes: int) -> str:
    if kind == "restart":
        return "done"
    return f"{changes or 'nothing'} {'would change' if kind == 'preview' else 'changed'}"


def _operation_of(session: Session, asked: _Asked, kind: ActionKind) -> Operation | None:
    """The operation in which it was done: others may have begun before and after."""
    found = select(Operation).where(
        Operation.instance_id == asked.instance_id,
        Operation.id > asked.operation_id,
        Operation.kind == KINDS.get(kind, kind),
    )
    return session.scalar(found.order_by(Operation.id.desc()).limit(1))


def _latest(session: Session, model: type[Progress] | type[Operation], instance: Instance) -> int:
    ids = select(model.id).where(model.instance_id == instance.id).order_by(model.id.desc())
    return session.scalar(ids.limit(1)) or 0


def _operation(session: Session, instance: Instance, id_: int | None) -> Operation:
    if id_ is not None:
        return fleet_service.operation_of(session, instance, id_)
    found = queries.operations(session, instance.id, 1)
    if not found:
        raise Conflict(f"Nothing was done to {instance.slug} yet.", "See: flask worker status")
    return found[0]


def _of_operation(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "kind": operation.kind,
        "outcome": operation.outcome or "running",
        "started": operation.started_at,
        "ended": operation.ended_at,
        "changes": len(operation.changes),
    }


def _say(row: Progress) -> None:
    line = timeline.log_line(row)
    click.echo(f"  {as_text(line.at)}  {line.text}")
