"""Money back for an instance that was paid for and did not come to life by its deadline."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import select

from webapp.accounts.models import User
from webapp.billing import subscriptions
from webapp.billing.models import Subscription
from webapp.billing.words import money
from webapp.http.context import Clawdet
from webapp.instances import letters
from webapp.instances import service as instances
from webapp.instances.models import Instance

log = structlog.get_logger(__name__)


def due(c: Clawdet, at: datetime) -> list[str]:
    """Users who paid by card longer ago than the deadline and never had a running instance."""
    deadline = at - timedelta(seconds=c.settings.clawdet_refund_deadline_s)
    with c.db.read() as session:
        return list(
            session.scalars(
                select(User.id)
                .join(Instance, Instance.user_id == User.id)
                .where(
                    User.deleted_at.is_(None),
                    User.payment_method == "stripe",
                    User.paid_at <= deadline,
                    Instance.desired == "running",
                    Instance.status != "deleted",
                    Instance.live_at.is_(None),
                )
            )
        )


def refund(c: Clawdet, user_id: str, at: datetime) -> None:
    """Give the latest payment back, once, and say so in a letter, the timeline and the log.

    The subscription stays, and so does the attempt to make the instance: an operator decides.
    """
    with c.db.read() as session:
        found = subscriptions.living(session, user_id)
    if not found or found[0].refunded_at is not None:
        return
    cents = c.payments.refund_latest(found[0].id)
    with c.db.begin() as session:
        user = session.get_one(User, user_id, with_for_update=True)
        row = session.get_one(Subscription, found[0].id)
        if row.refunded_at is not None:
            return
        row.refunded_at = at
        instance = instances.of_user(session, user.id)
        if instance is not None and cents:
            amount = money(cents, row.currency)
            instances.record(
                session,
                instance,
                actor="clawdet",
                kind="refund",
                text=f"Refunded {amount}",
                why="it was not running by its deadline",
            )
            letters.write(
                session, c, instance, "refunded", key=row.id, path="/dashboard", amount=amount
            )
            log.error("refunded_not_live", user_id=user_id, slug=instance.slug, amount=amount)
