"""Which letters a change of what is paid for leads to, and what they say."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from webapp.accounts.models import User
from webapp.billing.models import Subscription
from webapp.billing.policy import Decision
from webapp.billing.words import day, money
from webapp.instances.models import Instance
from webapp.instances.states import Desired
from webapp.jobs import Jobs
from webapp.mail import service as mail
from webapp.settings import WebSettings


@dataclass(frozen=True)
class Change:
    """A decision about a user's instance; `before` is what should have been until now."""

    user: User
    instance: Instance
    before: Desired | None
    decision: Decision


def write(
    session: Session, jobs: Jobs, change: Change, at: datetime, settings: WebSettings
) -> None:
    """Post what is to be said, each letter once per occurrence; nothing without an address."""
    decision, user = change.decision, change.user
    subscription = session.get(Subscription, decision.subscription_id)
    if subscription is None or not user.email:
        return
    since = int(decision.since.timestamp()) if decision.since else 0
    for template, key in _due(change, at):
        mail.post(
            session,
            jobs,
            to=user.email,
            template=template,
            key=f"{key}-{subscription.id}-{since}",
            user_id=user.id,
            **_context(change, subscription, settings),
        )


def _due(change: Change, at: datetime) -> list[tuple[str, str]]:
    """Templates and keys of what is to be written."""
    decision, before = change.decision, change.before
    if decision.standing == "grace":
        again = decision.remind_at is not None and at >= decision.remind_at
        first = [("payment_failed", "payment_failed")]
        return [*first, ("payment_failed", "payment_failed-again")] if again else first
    if decision.standing == "suspended" and before == "running":
        return [("suspended", "suspended")]
    if decision.standing == "ended" and before in ("running", "suspended"):
        return [("ended", "ended")]
    due = []
    if before == "suspended" and decision.standing in ("running", "ending"):
        due.append(("resumed", f"resumed-{change.instance.generation}"))
    if decision.standing == "ending":
        until = int(decision.next_at.timestamp()) if decision.next_at else 0
        due.append(("cancelled", f"cancelled-{until}"))
    return due


def _context(change: Change, subscription: Subscription, settings: WebSettings) -> dict[str, str]:
    """The values of templates/emails/README.md."""
    decision = change.decision
    ended = decision.standing == "ended"
    moment = decision.since if ended else decision.next_at
    found = {
        "name": change.user.x_name,
        "address": f"{change.instance.slug}.{settings.clawdet_domain}",
        "link": settings.url("/signup/pay" if ended else "/dashboard"),
        "support": settings.clawdet_support_email,
        "amount": money(subscription.amount_cents, subscription.currency),
        "date": day(moment) if moment else "",
        "destroy_date": day(decision.delete_at) if decision.delete_at else "",
    }
    return {name: value for name, value in found.items() if value}
