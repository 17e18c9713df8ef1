"""The plan, the way to Stripe and back, and Stripe's own calls."""

import structlog
from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webapp import clock
from webapp.accounts import journey
from webapp.accounts.models import User
from webapp.billing import checkouts, schema, service
from webapp.billing.checkouts import AlreadyPaying
from webapp.errors import ClawdetError, Conflict, Invalid, NotFound
from webapp.http.access import me, public, signed_in
from webapp.http.context import here
from webapp.http.limits import limiter
from webapp.instances import service as instances

billing = Blueprint("billing", __name__)

LIMIT = "30 per minute"
SESSION_ID_LENGTH = 255

log = structlog.get_logger(__name__)


@billing.get("/signup/pay")
@signed_in
def pay() -> ResponseReturnValue:
    """The third step: what one gets, what it costs, and the way to pay."""
    if not journey.has_details(me()):
        return redirect(journey.DETAILS, 303)
    with here().db.read() as session:
        instance = instances.of_user(session, me().id)
        try:
            checkouts.check(session, session.get_one(User, me().id))
        except AlreadyPaying as error:
            return redirect(url_for("instances.dashboard"), 303) if instance else _plan(error)
        except Conflict as error:
            return _plan(error)
    return _plan()


@billing.post("/signup/pay")
@signed_in
@limiter.limit(LIMIT)
def start() -> ResponseReturnValue:
    """To Stripe's checkout page."""
    try:
        return redirect(service.start_checkout(here(), me()), 303)
    except AlreadyPaying as error:
        flash(error.title, "info")
        return redirect(url_for("instances.dashboard"), 303)
    except ClawdetError as error:
        return _plan(error), error.status


@billing.get("/signup/success")
@public
@limiter.limit(LIMIT)
def success() -> ResponseReturnValue:
    """Back from Stripe. Nobody is signed in here: a Strict cookie is not sent along the way back.

    The session's id is what shows that somebody has paid, and all that it leads to is that they
    get what they paid for; the page says nothing of whose it is.
    """
    session_id = request.args.get("session_id", "")
    if not session_id or len(session_id) > SESSION_ID_LENGTH:
        raise NotFound("There is no such payment.", "The address may be mistyped.")
    try:
        outcome = checkouts.finish(here(), session_id)
    except ClawdetError as error:
        if error.status < 500:
            raise
        return render_template("billing/success.html", outcome="unknown", here_url=_here_url())
    if outcome in ("open", "expired"):
        return redirect(url_for("billing.cancelled"), 303)
    return render_template("billing/success.html", outcome=outcome, here_url=_here_url())


@billing.get("/signup/cancelled")
@public
def cancelled() -> str:
    """Back from Stripe without having paid."""
    return render_template("billing/cancelled.html")


@billing.get("/billing/back")
@public
def back() -> str:
    """Back from Stripe's portal; a page that leads on, as a Strict cookie is not sent yet."""
    return render_template("billing/back.html")


@billing.post("/billing/portal")
@signed_in
@limiter.limit(LIMIT)
def portal() -> ResponseReturnValue:
    """To Stripe's page of cards, bills and cancellation."""
    return redirect(service.portal_url(here(), me()), 303)


@billing.post("/api/payment/checkout")
@signed_in
@limiter.limit(LIMIT)
def api_checkout() -> Response:
    """The address of a page to pay on."""
    return _json(schema.HostedPage(url=service.start_checkout(here(), me())))


@billing.post("/api/payment/portal")
@signed_in
@limiter.limit(LIMIT)
def api_portal() -> Response:
    """The address of the page of cards, bills and cancellation."""
    return _json(schema.HostedPage(url=service.portal_url(here(), me())))


@billing.get("/api/payment/status")
@signed_in
def api_status() -> Response:
    """How the plan stands."""
    c, at = here(), clock.now()
    with c.db.read() as session:
        user = session.get_one(User, me().id)
        found = service.summary(session, user.id, at, c.settings)
        return _json(schema.payment_status(found, paid=service.is_paid(session, user, at)))


@billing.post("/api/webhooks/stripe")
@public
def stripe_webhook() -> ResponseReturnValue:
    """What Stripe tells us: kept, and answered before anything is done about it."""
    signature = request.headers.get("Stripe-Signature")
    try:
        service.store_webhook(here(), request.get_data(), signature)
    except Invalid as error:
        log.warning("webhook_refused", reason=error.title, signed=signature is not None)
        raise
    return "", 200


def _plan(error: ClawdetError | None = None) -> str:
    c, slug = here(), me().slug
    return render_template(
        "billing/pay.html",
        price=service.price(c),
        problem=error,
        details_url=journey.DETAILS,
        refund_s=c.settings.clawdet_refund_deadline_s,
        address=f"{slug}.{c.settings.clawdet_domain}" if slug else "",
    )


def _here_url() -> str:
    return request.full_path


def _json(answer: schema.Answer) -> Response:
    return Response(answer.model_dump_json(by_alias=True), content_type="application/json")
