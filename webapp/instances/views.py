"""What customers see of their instance and do with it."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from webapp import clock
from webapp.accounts.journey import next_path
from webapp.accounts.models import User
from webapp.billing import service as billing
from webapp.errors import ClawdetError, Conflict, Invalid, NotFound
from webapp.http.access import me, signed_in
from webapp.http.context import EXTENSION, here
from webapp.instances import dashboard as state
from webapp.instances import service, stream, timeline
from webapp.instances.forms import ConfirmForm, PowerForm
from webapp.instances.models import Instance, Operation, Progress
from webapp.instances.schema import ProvisioningStatus

instances = Blueprint("instances", __name__)

Lever = Callable[[Session, Instance], str]


@instances.record_once
def _watch(setup: BlueprintSetupState) -> None:
    setup.app.extensions[stream.EXTENSION] = stream.Watcher(setup.app.extensions[EXTENSION].db)


@instances.get("/provisioning")
@signed_in
def provisioning() -> str | AnyResponse:
    """The birth of the server, step by step."""
    c = here()
    with c.db.read() as session:
        instance = service.of_user(session, me().id)
        if instance is None:
            path = next_path(session, session.get_one(User, me().id))
            if path != url_for("instances.provisioning"):
                return redirect(path, 303)
            return render_template("instances/awaiting_payment.html")
        if instance.status in ("suspended", "deleting"):
            return redirect(url_for("instances.dashboard"), 303)
        return render_template("instances/provisioning.html", **_birth(session, instance))


@instances.get("/api/provisioning/events")
@signed_in
def events() -> Response:
    """What happens, as server-sent events; 204 when this browser knows it all."""
    with here().db.read() as session:
        instance = _mine(session)
    after, told = stream.parse_id(
        request.headers.get("Last-Event-ID") or request.args.get("after", "")
    )
    return stream.respond(
        stream.Stream(
            here().db, stream.watcher(), instance.id, _address(instance), after=after, told=told
        )
    )


@instances.post("/api/provisioning/start")
@signed_in
def api_start() -> Response:
    """Order the server of somebody who has paid; asked again, it says how far it is."""
    c = here()
    with c.db.begin() as session:
        user = session.get_one(User, me().id)
        instance = service.of_user(session, user.id)
        if instance is None:
            if not billing.is_paid(session, user, clock.now()):
                raise service.PaymentNeeded(
                    "This needs a payment first.", "Choose the plan and pay, then start again."
                )
            actor = f"customer {user.x_username}"
            instance = service.create(session, c.jobs, user, actor, "asked for over the API")
        return _status(session, instance, 202)


@instances.get("/api/provisioning/status")
@signed_in
def api_status() -> Response:
    """How far it is, for programs."""
    with here().db.read() as session:
        return _status(session, _mine(session), 200)


@instances.get("/dashboard")
@signed_in
def dashboard() -> str | AnyResponse:
    """The instance: its state, its levers, its history."""
    c = here()
    with c.db.read() as session:
        instance = service.of_user(session, me().id)
        earlier = _earlier(session)
        if instance is None and not earlier:
            return redirect(next_path(session, session.get_one(User, me().id)), 303)
        if instance is not None and _is_being_born(instance):
            return redirect(url_for("instances.provisioning"), 303)
        return render_template(
            "instances/dashboard.html",
            billing=billing.summary(session, me().id, clock.now(), c.settings),
            earlier=earlier,
            **(_state(session, instance) if instance else {"instance": None}),
        )


@instances.get("/dashboard/bills")
@signed_in
def bills() -> str:
    """The latest bills, asked of Stripe; the dashboard loads them after itself."""
    return render_template("instances/bills.html", bills=billing.invoices(here(), me()))


@instances.get("/instances/<instance_id>")
@signed_in
def show(instance_id: str) -> str:
    """The record and the history of one of the user's instances, also when it has ended."""
    with here().db.read() as session:
        instance = session.get(Instance, instance_id)
        if instance is None or instance.user_id != me().id:
            raise _not_found()
        return render_template("instances/record.html", **_state(session, instance))


@instances.post("/instance/power")
@signed_in
def power() -> AnyResponse:
    """Switch it on or off."""
    form = PowerForm()
    if not form.validate_on_submit():
        raise Invalid("That is neither on nor off.", "Use the buttons of the dashboard.")
    on = form.power.data == "on"

    def pull(session: Session, instance: Instance) -> str:
        service.want(
            session, here().jobs, instance, actor=_actor(), why="by the dashboard", powered_on=on
        )
        return "It is being switched on." if on else "It is being switched off. Nothing is lost."

    return _pull(pull)


@instances.post("/instance/restart")
@signed_in
def restart() -> AnyResponse:
    """Shut it down and start it again."""

    def pull(session: Session, instance: Instance) -> str:
        service.ask(session, here().jobs, instance, "restart", actor=_actor())
        return "It restarts as soon as it is free; that takes less than a minute."

    return _pull(pull)


@instances.post("/instance/rebuild")
@signed_in
def rebuild() -> AnyResponse:
    """Make the server anew, from nothing, once its name was typed."""

    def pull(session: Session, instance: Instance) -> str:
        form = ConfirmForm(instance.slug)
        if not form.validate_on_submit():
            raise Conflict("The name did not match.", "Nothing was changed.")
        service.ask(session, here().jobs, instance, "rebuild", actor=_actor())
        return "It is being made anew. You can watch it here."

    return _pull(pull)


@instances.post("/instance/token")
@signed_in
def token() -> str:
    """Show the gateway token, on request only; the history says so."""
    with here().db.begin() as session:
        instance = _mine(session)
        if instance.gateway_token is None:
            raise Conflict("There is no gateway token yet.", "It is made with the server.")
        service.record(
            session, instance, actor=_actor(), kind="token", text="The gateway token was shown"
        )
        return render_template(
            "instances/token.html",
            instance=instance,
            url=_url(instance),
            may_use=state.may_use(instance),
        )


@instances.post("/instance/rotate-token")
@signed_in
def rotate_token() -> AnyResponse:
    """Replace the gateway token by a new one."""

    def pull(session: Session, instance: Instance) -> str:
        service.ask(session, here().jobs, instance, "rotate_token", actor=_actor())
        return "A new gateway token is being made. The old one is refused once it is there."

    return _pull(pull)


@instances.post("/instance/retry")
@signed_in
def retry() -> AnyResponse:
    """Go on from the step that failed."""

    def pull(session: Session, instance: Instance) -> str:
        service.retry(session, here().jobs, instance, actor=_actor())
        return "It goes on from where it stopped."

    return _pull(pull)


def _pull(lever: Lever) -> AnyResponse:
    """Pull a lever in one transaction, say what came of it, and lead back."""
    try:
        with here().db.begin() as session:
            text = lever(session, _mine(session))
        flash(text, "waiting")
    except Conflict as error:
        flash(f"{error.title} {error.detail}".strip(), "failed")
    return redirect(url_for("instances.dashboard"), 303)


def _mine(session: Session) -> Instance:
    instance = service.of_user(session, me().id)
    if instance is None:
        raise _not_found()
    return instance


def _not_found() -> ClawdetError:
    return NotFound("You have no such assistant.", "The dashboard shows what you have.")


def _earlier(session: Session) -> list[Instance]:
    query = select(Instance).where(Instance.user_id == me().id, Instance.status == "deleted")
    return list(session.scalars(query.order_by(Instance.created_at.desc())))


def _is_being_born(instance: Instance) -> bool:
    return (
        instance.live_at is None
        and instance.desired == "running"
        and instance.status != "suspended"
    )


def _birth(session: Session, instance: Instance) -> dict[str, Any]:
    """What the provisioning page shows."""
    usual = service.usual_seconds(session)
    last = session.scalar(select(func.max(Progress.id)).where(Progress.instance_id == instance.id))
    stages = timeline.read_stages(session, instance, _address(instance), usual, last or 0)
    began = session.scalar(
        select(func.max(Operation.started_at)).where(Operation.instance_id == instance.id)
    )
    rows = timeline.read_log(session, instance.id)
    return {
        "instance": instance,
        "address": _address(instance),
        "url": _url(instance),
        "steps": stages.views(instance),
        "lines": [timeline.log_line(row) for row in rows],
        "began": began or instance.created_at,
        "usual_s": usual.get(service.TOTAL),
        "last": last or 0,
        "settled": instance.status in stream.SETTLED,
    }


def _state(session: Session, instance: Instance) -> dict[str, Any]:
    """What the dashboard and the record show."""
    page = max(1, request.args.get("page", 1, type=int))
    history, more = timeline.read_history(session, instance.id, page)
    at = clock.now()
    return {
        "instance": instance,
        "address": _address(instance),
        "url": _url(instance),
        "headline": state.headline(instance, at),
        "since_s": (at - instance.status_since).total_seconds(),
        "busy": state.is_busy(instance),
        "may_open": state.may_open(instance),
        "may_use": state.may_use(instance),
        "waiting": state.waiting_actions(session, instance.id),
        "place": timeline.PLACES.get(instance.location, instance.location),
        "confirm": ConfirmForm(instance.slug),
        "history": history,
        "page": page,
        "more": more,
    }


def _status(session: Session, instance: Instance, code: int) -> Response:
    usual = service.usual_seconds(session)
    last = session.scalar(select(func.max(Progress.id))) or 0
    stages = timeline.read_stages(session, instance, _address(instance), usual, last)
    body = ProvisioningStatus.of(instance, stages.views(instance), _url(instance))
    return Response(body.model_dump_json(by_alias=True), code, content_type="application/json")


def _actor() -> str:
    return f"customer {me().x_username}"


def _url(instance: Instance) -> str:
    return here().settings.instance_url(instance.slug)


def _address(instance: Instance) -> str:
    return _url(instance).partition("://")[2]
