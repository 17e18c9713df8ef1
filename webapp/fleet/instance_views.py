"""One instance, for operators: what it is, what was done to it, and what can be done."""

from typing import Any

from flask import Response, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from webapp import clock
from webapp.accounts.models import User
from webapp.billing import service as billing
from webapp.errors import Conflict, Invalid
from webapp.fleet import queries, service
from webapp.fleet.blueprint import act, actor, fleet
from webapp.fleet.forms import ASKABLE, AskForm
from webapp.http.access import operators, operators_only
from webapp.http.context import here
from webapp.instances import dashboard as state
from webapp.instances import service as instances
from webapp.instances import stream, timeline
from webapp.instances.forms import ConfirmForm, PowerForm
from webapp.instances.models import ActionKind, Instance, Operation

ASKED: dict[ActionKind, str] = {
    "preview": "The preview is asked for; it shows here in a moment.",
    "apply": "Asked for: what should be is applied.",
    "refresh": "Asked for: the state is read from the clouds again.",
    "drift": "Asked for: the clouds are compared with the state.",
    "restart": "Asked for: it restarts.",
    "rotate_token": "Asked for: a new gateway token.",
}


@fleet.get("/<slug>")
@operators
def instance(slug: str) -> str:
    """State, drift, preview, operations, history."""
    with here().db.read() as session:
        found = queries.find(session, slug, request.args.get("id", ""))
        return render_template("fleet/instance.html", **_about(session, found))


@fleet.post("/<slug>/ask")
@operators_only
def ask(slug: str) -> AnyResponse:
    """Something to be done once: preview, apply, refresh, drift, restart, rotate_token."""
    form = AskForm()

    def change(session: Session) -> str:
        if not form.validate_on_submit():
            raise Invalid("That is nothing one can ask for.", "Use the buttons of the page.")
        kind = next(kind for kind in ASKABLE if kind == form.kind.data)
        instances.ask(session, here().jobs, queries.find(session, slug), kind, actor=actor())
        return ASKED[kind]

    return act(change, _page(slug))


@fleet.post("/<slug>/retry")
@operators_only
def retry(slug: str) -> AnyResponse:
    """Go on from the step that failed."""

    def change(session: Session) -> str:
        found = queries.find(session, slug)
        instances.retry(session, here().jobs, found, actor=actor())
        return "It goes on from where it stopped."

    return act(change, _page(slug))


@fleet.post("/<slug>/power")
@operators_only
def power(slug: str) -> AnyResponse:
    """Switch it on or off, as its customer may."""
    form = PowerForm()

    def change(session: Session) -> str:
        if not form.validate_on_submit():
            raise Invalid("That is neither on nor off.", "Use the buttons of the page.")
        on = form.power.data == "on"
        found = queries.find(session, slug)
        instances.want(
            session, here().jobs, found, actor=actor(), why="by the fleet's page", powered_on=on
        )
        return f"Asked for: it is switched {form.power.data}."

    return act(change, _page(slug))


@fleet.post("/<slug>/approve")
@operators_only
def approve(slug: str) -> AnyResponse:
    """Apply, even where that replaces or deletes the server, once its name was typed."""

    def change(session: Session) -> str:
        found = _confirmed(session, slug)
        instances.ask(session, here().jobs, found, "apply", actor=actor(), approved=True)
        return "Approved: it is applied, and the server may be replaced."

    return act(change, _page(slug))


@fleet.post("/<slug>/destroy")
@operators_only
def destroy(slug: str) -> AnyResponse:
    """Back it up for the last time and delete it, once its name was typed."""

    def change(session: Session) -> str:
        found = _confirmed(session, slug)
        instances.want(
            session, here().jobs, found, actor=actor(), why="by the fleet's page", desired="deleted"
        )
        return "It is backed up for the last time and deleted."

    return act(change, _page(slug))


@fleet.get("/<slug>/operations/<int:operation_id>")
@operators
def operation(slug: str, operation_id: int) -> str:
    """One operation: its outcome, what it changed or would change, its log."""
    with here().db.read() as session:
        found = queries.find(session, slug, request.args.get("id", ""))
        shown = service.operation_of(session, found, operation_id)
        rows = timeline.read_log(session, found.id, shown.id)
        return render_template(
            "fleet/operation.html",
            instance=found,
            operation=shown,
            changes=changes_of(shown),
            lines=[timeline.log_line(row) for row in rows],
            last=rows[-1].id if rows else 0,
            at=clock.now(),
        )


@fleet.get("/<slug>/operations/<int:operation_id>/events")
@operators
def operation_events(slug: str, operation_id: int) -> Response:
    """The operation's log as it grows, as server-sent events."""
    with here().db.read() as session:
        found = queries.find(session, slug, request.args.get("id", ""))
        service.operation_of(session, found, operation_id)
    known = request.headers.get("Last-Event-ID") or request.args.get("after", "")
    after, told = stream.parse_id(known)
    return stream.respond(
        stream.Stream(
            here().db,
            stream.watcher(),
            found.id,
            slug,
            after=after,
            told=told,
            operation_id=operation_id,
        )
    )


@fleet.post("/<slug>/operations/<int:operation_id>/cancel")
@operators_only
def cancel(slug: str, operation_id: int) -> AnyResponse:
    """Ask a running operation to end."""

    def change(session: Session) -> str:
        found = queries.find(session, slug)
        service.cancel(session, found, operation_id, actor())
        return "It is being cancelled; the stack is left clean."

    back = url_for("fleet.operation", slug=slug, operation_id=operation_id)
    return act(change, back)


def changes_of(operation: Operation) -> list[dict[str, Any]]:
    """An operation's changes as components/diff.html takes them."""
    return [
        {
            **change,
            "properties": [
                {**one, "replaces": str(one.get("kind", "")).endswith("replace")}
                for one in change.get("properties", [])
            ],
        }
        for change in operation.changes
    ]


def _about(session: Session, found: Instance) -> dict[str, Any]:
    page = max(1, request.args.get("page", 1, type=int))
    history, more = timeline.read_history(session, found.id, page, size=50)
    user = session.get_one(User, found.user_id)
    at, settings = clock.now(), here().settings
    operations = queries.operations(session, found.id)
    preview = next((o for o in operations if o.kind == "preview" and o.ended_at), None)
    return {
        "instance": found,
        "user": user,
        "url": settings.instance_url(found.slug),
        "headline": state.headline(found, at),
        "busy": state.is_busy(found),
        "waiting": state.waiting_actions(session, found.id),
        "may_use": state.may_use(found),
        "place": timeline.PLACES.get(found.location, found.location),
        "plan": billing.summary(session, user.id, at, settings),
        "operations": operations,
        "preview": preview,
        "changes": changes_of(preview) if preview else [],
        "namesakes": queries.namesakes(session, found),
        "confirm": ConfirmForm(found.slug),
        "history": history,
        "page": page,
        "more": more,
        "at": at,
    }


def _confirmed(session: Session, slug: str) -> Instance:
    found = queries.find(session, slug)
    if not ConfirmForm(found.slug).validate_on_submit():
        raise Conflict("The name did not match.", "Nothing was changed.")
    return found


def _page(slug: str) -> str:
    return url_for("fleet.instance", slug=slug)
