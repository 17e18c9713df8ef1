"""From what was paid to what should run: the decision is the policy's, the doing is here."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.accounts.models import User
from webapp.billing import letters, policy
from webapp.billing.models import Subscription
from webapp.billing.policy import Decision, Delays, Terms
from webapp.instances import service as instances
from webapp.instances.models import Instance
from webapp.jobs import Jobs
from webapp.settings import WebSettings

STRIPE, CLAWDET = "stripe", "clawdet"


def entitle(
    session: Session, jobs: Jobs, user: User, at: datetime, settings: WebSettings
) -> Decision:
    """Make what should be agree with what is paid for at that moment, and write the letters.

    Doing it again changes nothing. A closed account is left as it is.
    """
    lock(session, user)
    decision = decide(session, user, at, settings)
    if user.deleted_at is not None:
        return decision
    instance = instances.of_user(session, user.id)
    before = instance.desired if instance else None
    _note_payment(user, decision, at)
    instance = _enact(session, jobs, user, instance, decision)
    if instance is not None:
        change = letters.Change(user, instance, before, decision)
        letters.write(session, jobs, change, at, settings)
    return decision


def decide(session: Session, user: User, at: datetime, settings: WebSettings) -> Decision:
    """What the user is entitled to at that moment, by what we last heard from Stripe."""
    rows = session.scalars(select(Subscription).where(Subscription.user_id == user.id))
    manual_since = user.paid_at if user.payment_method == "manual" else None
    return policy.decide(list(map(_terms, rows)), manual_since, Delays.of(settings), at)


def run(session: Session, jobs: Jobs, user: User, *, actor: str, why: str) -> Instance | None:
    """The user's instance is to run; a new one where there is none.

    None while an older one is being deleted: then it is the next look at the payments that makes
    the new one; and None where an operator has suspended it, which only an operator ends.
    """
    instance = instances.of_user(session, user.id)
    if instance is None:
        return instances.create(session, jobs, user, actor, why)
    if instance.status == "deleting" or instance.held:
        return None
    instances.want(session, jobs, instance, actor=actor, why=why, desired="running")
    return instance


def lock(session: Session, user: User) -> None:
    """The user's row as it is now, and nobody else's until the transaction ends."""
    session.refresh(user, with_for_update=True)


def _terms(row: Subscription) -> Terms:
    return Terms(
        id=row.id,
        status=row.status,
        created_at=row.created_at,
        current_period_end=row.current_period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        past_due_since=row.past_due_since,
        ended_at=row.ended_at,
    )


def _note_payment(user: User, decision: Decision, at: datetime) -> None:
    """`paid_at` is there as long as somebody is a customer: from the payment to the end."""
    if decision.standing == "ended":
        user.paid_at = user.payment_method = None
    elif decision.desired == "running" and user.paid_at is None:
        user.paid_at, user.payment_method = at, "stripe"


def _enact(
    session: Session, jobs: Jobs, user: User, instance: Instance | None, decision: Decision
) -> Instance | None:
    why = decision.words
    if decision.desired == "running":
        return run(session, jobs, user, actor=STRIPE, why=why)
    if instance is None or decision.desired is None or instance.status == "deleting":
        return None
    if instance.desired != "deleted":
        instances.want(session, jobs, instance, actor=CLAWDET, why=why, desired=decision.desired)
    return instance
