"""What the clock asks of billing: find what Stripe told in vain, and let delays elapse."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts.models import User
from webapp.billing import checkouts, entitlement, refunds, subscriptions, webhooks
from webapp.billing.models import Checkout, Subscription, WebhookEvent
from webapp.billing.policy import LIVING, OVER, PAID, Decision
from webapp.billing.webhooks import handle_webhook
from webapp.errors import ClawdetError, NotFound
from webapp.http.context import Clawdet
from webapp.instances import facts
from webapp.instances import service as instances
from webapp.instances.models import Instance

__all__ = ["handle_webhook", "reconcile_billing"]

LOOKED_AT = "stripe_events_looked_at"
OVERLAP = timedelta(minutes=10)
"""Looked at twice: an event may show up in Stripe's list a little after its moment."""
STUCK = timedelta(minutes=15)
OVERDUE = timedelta(hours=2)
"""After the end of a period, by when Stripe has renewed, failed or ended a subscription."""
AT_ONCE = 200

log = structlog.get_logger(__name__)


def reconcile_billing(c: Clawdet, at: datetime | None = None) -> None:
    """A job: make up for lost webhooks, end what has expired, let delays elapse, refund.

    Each part stands for itself: where Stripe does not answer, the rest goes on, and the next run
    does what this one could not.
    """
    moment = at or clock.now()
    _try("events", lambda: _find_lost_events(c, moment))
    _try("stuck", lambda: _enqueue_stuck(c, moment))
    for session_id in _expired_checkouts(c, moment):
        _try("checkout", _bind(checkouts.finish, c, session_id, moment))
    for subscription_id in _overdue(c, moment):
        _try("subscription", _bind(subscriptions.apply, c, subscription_id, moment))
    for user_id in _to_review(c):
        _try("user", _bind(_review, c, user_id, moment))
    for user_id in refunds.due(c, moment):
        _try("refund", _bind(refunds.refund, c, user_id, moment))


def _bind(work: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: work(*arguments)


def _try(part: str, work: Callable[[], object]) -> None:
    try:
        work()
    except ClawdetError as error:
        log.warning("billing_not_reconciled", part=part, error=str(error))


def _find_lost_events(c: Clawdet, at: datetime) -> None:
    with c.db.read() as session:
        fact = facts.find(session, LOOKED_AT)
        begun = session.scalar(select(func.min(Checkout.created_at)))
    since = datetime.fromisoformat(fact.value) - OVERLAP if fact else begun
    if since is None:
        return  # nobody has ever tried to pay
    for event in list(c.payments.events(since, webhooks.TYPES)):
        if webhooks.store(c, event):
            log.warning("webhook_was_late_or_lost", event_id=event.id, type=event.type)
    with c.db.begin() as session:
        facts.keep(session, LOOKED_AT, at.isoformat(), at)


def _enqueue_stuck(c: Clawdet, at: datetime) -> None:
    """Handling was enqueued once and tried often; where it still has not happened, again."""
    stuck = (
        select(WebhookEvent.id)
        .where(WebhookEvent.handled_at.is_(None), WebhookEvent.received_at < at - STUCK)
        .limit(AT_ONCE)
    )
    period = int(at.timestamp() // STUCK.total_seconds())
    with c.db.begin() as session:
        for id_ in session.scalars(stuck).all():
            c.jobs.enqueue(session, "handle_webhook", id_, key=f"webhook-{id_}-{period}")


def _expired_checkouts(c: Clawdet, at: datetime) -> list[str]:
    with c.db.read() as session:
        found = session.scalars(
            select(Checkout.stripe_session_id)
            .where(Checkout.status == "open", Checkout.expires_at < at)
            .limit(AT_ONCE)
        )
        return [session_id for session_id in found if session_id]


def _overdue(c: Clawdet, at: datetime) -> list[str]:
    """Those whose period is over without a word from Stripe."""
    with c.db.read() as session:
        return list(
            session.scalars(
                select(Subscription.id)
                .where(
                    Subscription.status.in_(LIVING),
                    Subscription.current_period_end < at - OVERDUE,
                    Subscription.fetched_at < at - OVERDUE,
                )
                .limit(AT_ONCE)
            )
        )


def _to_review(c: Clawdet) -> list[str]:
    """Users of whom something may have to be done though nothing happens."""
    kept = and_(Instance.user_id == User.id, Instance.status != "deleted")
    has_none = ~exists().where(kept)
    ends = exists().where(kept, Instance.desired != "deleted")
    by_card = or_(
        _any(Subscription.status.in_(LIVING), Subscription.past_due_since.is_not(None)),
        and_(_any(Subscription.status.in_(OVER)), ends),
        and_(_any(Subscription.status.in_(PAID)), has_none),
    )
    by_arrangement = and_(User.payment_method == "manual", has_none)
    with c.db.read() as session:
        return list(
            session.scalars(
                select(User.id).where(User.deleted_at.is_(None), or_(by_card, by_arrangement))
            )
        )


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(Subscription.user_id == User.id, *conditions)


def _review(c: Clawdet, user_id: str, at: datetime) -> None:
    """Let time have its effect on one user; nothing is taken away without asking Stripe first."""
    with c.db.read() as session:
        decision, takes_away = _foresee(c, session, user_id, at)
        ids = [row.id for row in subscriptions.living(session, user_id)]
    if takes_away:
        for id_ in {*ids, decision.subscription_id}:
            subscriptions.apply(c, id_, at)
    with c.db.begin() as session:
        user = session.get_one(User, user_id)
        decision = entitlement.entitle(session, c.jobs, user, at, c.settings)
        ids = [row.id for row in subscriptions.living(session, user_id)]
    if decision.standing == "ended":
        for id_ in ids:  # who has no server any more must not be charged when a card works again
            _end(c, id_, at)


def _foresee(c: Clawdet, session: Session, user_id: str, at: datetime) -> tuple[Decision, bool]:
    user = session.get_one(User, user_id)
    decision = entitlement.decide(session, user, at, c.settings)
    instance = instances.of_user(session, user_id)
    takes_away = (
        instance is not None
        and decision.desired in ("suspended", "deleted")
        and instance.desired not in (decision.desired, "deleted")
    )
    return decision, takes_away


def _end(c: Clawdet, subscription_id: str, at: datetime) -> None:
    asked_at = clock.now()
    try:
        state = c.payments.cancel(subscription_id)
    except NotFound:
        return
    with c.db.begin() as session:
        row = session.get_one(Subscription, subscription_id)
        user = session.get_one(User, row.user_id, with_for_update=True)
        subscriptions.keep(session, user, state, asked_at, at)
