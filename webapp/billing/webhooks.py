"""What Stripe tells us: kept with a job in one transaction, handled by asking Stripe afresh."""

import json

import structlog
from sqlalchemy.exc import IntegrityError

from webapp import clock
from webapp.adapters.stripe_objects import StripeEvent
from webapp.billing import checkouts, subscriptions
from webapp.billing.models import WebhookEvent
from webapp.errors import ClawdetError, NotFound
from webapp.http.context import Clawdet

SESSIONS = (
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
)
SUBSCRIPTIONS = (
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.updated",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
)
TYPES = (*SESSIONS, *SUBSCRIPTIONS)
"""Events that change what is paid for. All others are kept and ignored."""

log = structlog.get_logger(__name__)


def store_webhook(c: Clawdet, payload: bytes, signature: str | None) -> bool:
    """Keep a webhook and enqueue its handling; whether it was new. Raises Invalid if not signed."""
    return store(c, c.payments.read_webhook(payload, signature))


def store(c: Clawdet, event: StripeEvent) -> bool:
    """Keep an event together with the job that handles it, once; whether it was new."""
    about = {"object": event.object, "id": event.object_id, "subscription": event.subscription_id}
    try:
        with c.db.begin() as session:
            if session.get(WebhookEvent, event.id) is not None:
                return False
            session.add(WebhookEvent(id=event.id, type=event.type, payload=json.dumps(about)))
            session.flush()
            c.jobs.enqueue(session, "handle_webhook", event.id, key=f"webhook-{event.id}")
    except IntegrityError:  # told twice at the same moment
        return False
    return True


def handle_webhook(c: Clawdet, event_id: str) -> None:
    """A job: ask Stripe how what the event is about stands now, and act on that.

    Raises Unavailable when Stripe does not answer; then it is for the queue to try again.
    """
    with c.db.begin() as session:
        event = session.get_one(WebhookEvent, event_id)
        if event.handled_at is not None:
            return
        event.tries += 1
    try:
        outcome = _handle(c, event)
    except ClawdetError as error:
        with c.db.begin() as session:
            session.get_one(WebhookEvent, event_id).outcome = str(error)[:500]
        raise
    log.info("webhook_handled", event_id=event_id, type=event.type, outcome=outcome)
    with c.db.begin() as session:
        handled = session.get_one(WebhookEvent, event_id)
        handled.handled_at, handled.outcome = clock.now(), outcome[:500]


def _handle(c: Clawdet, event: WebhookEvent) -> str:
    about = json.loads(event.payload)
    try:
        if event.type in SESSIONS:
            return f"checkout {checkouts.finish(c, about['id'])}"
        if event.type in SUBSCRIPTIONS and about["subscription"]:
            return subscriptions.apply(c, about["subscription"])
    except NotFound as error:
        return f"ignored: {error}"
    return "ignored"
