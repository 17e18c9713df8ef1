"""A subscription as Stripe has it now, written into our rows, and what follows from it."""

from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts.models import User
from webapp.adapters.stripe_objects import SubscriptionState
from webapp.billing import entitlement
from webapp.billing.models import Subscription
from webapp.billing.policy import BEHIND, LIVING, PAID
from webapp.errors import Conflict
from webapp.http.context import Clawdet

log = structlog.get_logger(__name__)


def apply(c: Clawdet, subscription_id: str, at: datetime | None = None) -> str:
    """Fetch a subscription, keep it, and make what should be agree with it; says what it came to.

    One of a closed account, or beside another living one, is given back and cancelled. Safe to
    repeat, in any order. Raises Unavailable when Stripe does not answer, and Conflict for one of
    a user we don't know: closed accounts we do know, so it is our memory that has a hole, after a
    database was put back from a copy, say. Nobody's money or server may be lost by that.
    """
    asked_at = clock.now()
    state = c.payments.subscription(subscription_id)
    with c.db.begin() as session:
        user = _owner(session, state)
        if user is None:
            return _of_nobody(state, c.settings.clawdet_web_url)
        keep(session, user, state, asked_at, at or asked_at)
        if user.deleted_at is None:
            entitlement.entitle(session, c.jobs, user, at or asked_at, c.settings)
        unwanted = _unwanted(session, user, state)
    for one in unwanted:
        give_back(c, one, at or asked_at)
    return _outcome(state, user, unwanted)


def keep(
    session: Session, user: User, state: SubscriptionState, asked_at: datetime, at: datetime
) -> None:
    """Write what Stripe said when it was asked at `asked_at`, unless we have asked again since.

    `at` is when a failed payment counts from: the customer's grace is counted from our letter.
    """
    row = session.get(Subscription, state.id)
    if row is not None and row.fetched_at > asked_at:
        return
    if row is None:
        row = Subscription(id=state.id, user_id=user.id)
        session.add(row)
    _copy(row, state)
    row.fetched_at = asked_at
    if state.status in BEHIND:
        row.past_due_since = row.past_due_since or at
    elif state.status in PAID:
        row.past_due_since = None
    if user.stripe_customer_id is None and user.deleted_at is None:
        user.stripe_customer_id = state.customer_id
    session.flush()


def living(session: Session, user_id: str) -> list[Subscription]:
    """Subscriptions that Stripe may charge for: the one to keep first, which is the oldest of
    those that are paid."""
    rows = session.scalars(
        select(Subscription).where(Subscription.user_id == user_id, Subscription.status.in_(LIVING))
    )
    return sorted(rows, key=lambda row: (row.status not in PAID, row.created_at, row.id))


def give_back(c: Clawdet, subscription_id: str, at: datetime) -> None:
    """Refund the latest payment of a subscription and end it at once. Safe to repeat.

    In this order: what has ended would not be looked at again, and its money be kept.
    """
    refunded_cents = c.payments.refund_latest(subscription_id)
    asked_at = clock.now()
    state = c.payments.cancel(subscription_id)
    log.warning("payment_given_back", subscription=subscription_id, cents=refunded_cents)
    with c.db.begin() as session:
        row = session.get(Subscription, subscription_id)
        if row is None:
            return
        user = session.get_one(User, row.user_id, with_for_update=True)
        keep(session, user, state, asked_at, at)
        if refunded_cents:
            row.refunded_at = row.refunded_at or at


def _owner(session: Session, state: SubscriptionState) -> User | None:
    """Whose it is: by what we wrote on it, or, made by hand at Stripe, by the customer."""
    whose = (
        User.id == state.user_id if state.user_id else User.stripe_customer_id == state.customer_id
    )
    return session.scalar(select(User).where(whose).with_for_update())


def _of_nobody(state: SubscriptionState, site: str) -> str:
    if state.site != site:
        return "not ours"  # of another site that shares the account at Stripe
    if state.status not in LIVING:
        return f"{state.id} is {state.status}, of an unknown user: nothing to do"
    raise Conflict(
        f"{state.id} is paid for by {state.user_id or state.customer_id}, whom nobody here knows.",
        "If the database was put back from a copy, name the user who signed in again in its "
        "metadata at Stripe (user_id) and replay this; else refund and cancel it there.",
    )


def _unwanted(session: Session, user: User, state: SubscriptionState) -> list[str]:
    if user.deleted_at is not None:
        return [state.id] if state.status in LIVING else []
    return [row.id for row in living(session, user.id)[1:]]


def _outcome(state: SubscriptionState, user: User, unwanted: list[str]) -> str:
    if user.deleted_at is not None:
        done = "refunded and cancelled" if unwanted else "nothing to do"
        return f"{state.id} is {state.status}, of a closed account: {done}"
    surplus = f"; refunded and cancelled: {', '.join(unwanted)}" if unwanted else ""
    return f"{state.id} is {state.status}{surplus}"


def _copy(row: Subscription, state: SubscriptionState) -> None:
    row.status = state.status
    row.price_id = state.price_id
    row.amount_cents = state.amount_cents
    row.currency = state.currency
    row.period = state.period
    row.created_at = state.created_at
    row.current_period_end = state.period_end
    row.cancel_at_period_end = state.ends_at_period_end
    row.ended_at = state.ended_at
