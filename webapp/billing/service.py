"""Money, for the rest of the web app: what somebody pays, and how they begin, change and end it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts.models import User
from webapp.adapters.stripe_objects import Invoice, Price
from webapp.billing import checkouts, entitlement, subscriptions
from webapp.billing.checkouts import AlreadyPaying
from webapp.billing.entitlement import entitle
from webapp.billing.models import Subscription
from webapp.billing.policy import LIVING, PAID, Standing
from webapp.billing.webhooks import handle_webhook, store_webhook
from webapp.errors import Conflict, Unavailable
from webapp.http.context import Clawdet
from webapp.instances import service as instances
from webapp.jobs import Jobs
from webapp.settings import WebSettings

__all__ = [
    "AlreadyPaying",
    "BillingSummary",
    "cancel_now",
    "end_manual_payment",
    "entitle",
    "handle_webhook",
    "invoices",
    "is_paid",
    "mark_paid_manually",
    "portal_url",
    "price",
    "start_checkout",
    "store_webhook",
    "summary",
]

BACK_PATH = "/billing/back"

Tone = Literal["ok", "waiting", "failed", "off"]
TONES: dict[Standing, Tone] = {
    "none": "off",
    "running": "ok",
    "manual": "ok",
    "ending": "waiting",
    "grace": "failed",
    "suspended": "failed",
    "ended": "off",
}


@dataclass(frozen=True)
class BillingSummary:
    """How somebody's plan stands: `words` say it, `next_at` is when it renews or changes.

    `amount_cents` is 0 and `currency` "" where nothing is paid by card; `has_portal`: whether there
    is anything for `portal_url` to show.
    """

    standing: Standing
    tone: Tone
    words: str
    since: datetime | None
    next_at: datetime | None
    amount_cents: int
    currency: str
    period: str
    has_portal: bool


def price(c: Clawdet) -> Price | None:
    """What the plan costs; None while Stripe does not answer and we have not asked before."""
    try:
        return c.payments.price()
    except Unavailable:
        return None


def start_checkout(c: Clawdet, user: User) -> str:
    """Where to send the user to pay. Raises AlreadyPaying, Conflict, Unavailable."""
    return checkouts.start(c, user)


def portal_url(c: Clawdet, user: User) -> str:
    """Where the user changes the card, sees the bills and cancels. Conflict if they never paid."""
    with c.db.read() as session:
        customer_id = session.get_one(User, user.id).stripe_customer_id
    if customer_id is None:
        raise Conflict("There are no bills yet.", "Choose the plan and pay first.")
    return c.payments.portal_url(customer_id, c.settings.url(BACK_PATH))


def invoices(c: Clawdet, user: User) -> list[Invoice]:
    """The user's latest bills, newest first. Raises Unavailable."""
    return c.payments.invoices(user.stripe_customer_id) if user.stripe_customer_id else []


def is_paid(session: Session, user: User, at: datetime) -> bool:
    """Whether something is paid for at that moment, by card or by arrangement."""
    if user.payment_method == "manual":
        return user.paid_at is not None and user.paid_at <= at
    paid = select(Subscription.id).where(
        Subscription.user_id == user.id, Subscription.status.in_(PAID)
    )
    return session.scalar(paid.limit(1)) is not None


def summary(session: Session, user_id: str, at: datetime, settings: WebSettings) -> BillingSummary:
    """How a user's plan stands at that moment."""
    user = session.get_one(User, user_id)
    decision = entitlement.decide(session, user, at, settings)
    row = session.get(Subscription, decision.subscription_id)
    return BillingSummary(
        standing=decision.standing,
        tone=TONES[decision.standing],
        words=decision.words,
        since=decision.since,
        next_at=decision.next_at,
        amount_cents=row.amount_cents if row else 0,
        currency=row.currency if row else "",
        period=row.period if row else "",
        has_portal=user.stripe_customer_id is not None,
    )


def cancel_now(c: Clawdet, user: User) -> None:
    """For an account that is closed: end everything that could still be charged, at once.

    Safe to repeat. Raises Unavailable while Stripe does not answer.
    """
    checkouts.close_all(c, user.id)
    with c.db.read() as session:
        current = session.get_one(User, user.id)
        ids = {row.id for row in subscriptions.living(session, user.id)}
    if current.stripe_customer_id:
        found = c.payments.subscriptions(current.stripe_customer_id)
        ids |= {one.id for one in found if one.status in LIVING}
    for subscription_id in sorted(ids):
        asked_at = clock.now()
        state = c.payments.cancel(subscription_id)
        with c.db.begin() as session:
            kept = session.get_one(User, user.id, with_for_update=True)
            subscriptions.keep(session, kept, state, asked_at, asked_at)


def mark_paid_manually(session: Session, jobs: Jobs, user: User, actor: str) -> None:
    """An operator notes a payment by arrangement: from now on the instance runs.

    Raises Conflict while the user pays by card, or has closed the account.
    """
    entitlement.lock(session, user)
    if user.deleted_at is not None:
        raise Conflict("This account is closed.", "Nothing was changed.")
    if subscriptions.living(session, user.id):
        raise Conflict("They pay by card.", "Cancel that at Stripe first. Nothing was changed.")
    if user.payment_method == "manual":
        return
    user.payment_method, user.paid_at = "manual", clock.now()
    instance = entitlement.run(session, jobs, user, actor=actor, why="paid by arrangement")
    if instance is not None:
        text = "Marked as paid by arrangement"
        instances.record(session, instance, actor=actor, kind="payment", text=text)


def end_manual_payment(session: Session, jobs: Jobs, user: User, actor: str) -> None:
    """The arrangement is over: the instance is deleted. Raises Conflict if there is none."""
    entitlement.lock(session, user)
    if user.payment_method != "manual":
        raise Conflict("They do not pay by arrangement.", "Nothing was changed.")
    user.payment_method = user.paid_at = None
    instance = instances.of_user(session, user.id)
    if instance is not None and instance.status != "deleting":
        why = "the arrangement is over"
        instances.want(session, jobs, instance, actor=actor, why=why, desired="deleted")
