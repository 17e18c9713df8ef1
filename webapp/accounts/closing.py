"""The end of an account: billing first, then the instance, then what identifies the person.

The rows stay for the record: what was done to which server, without a name.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.orm import Session

from webapp.accounts import service
from webapp.accounts.models import EmailLink, User
from webapp.billing import service as billing
from webapp.errors import Invalid
from webapp.http.context import Clawdet
from webapp.instances import service as instances
from webapp.instances.models import Instance
from webapp.jobs import Jobs
from webapp.mail.models import Letter
from webapp.trial import visits

NOBODY = "deleted"
"""What a closed account is called."""
UNSENT_KEPT = timedelta(days=7)
"""How long a letter may still be sent after its account was closed."""

log = structlog.get_logger(__name__)


class NotConfirmed(Invalid):
    """What was typed is not the handle."""


def close(c: Clawdet, user: User, typed: str, at: datetime) -> None:
    """Cancel what is paid, have the instance deleted, forget the person. Safe to ask for again.

    Raises NotConfirmed, and Unavailable while Stripe does not answer: then nothing has changed.
    """
    if typed.strip().removeprefix("@").lower() != user.x_username.lower():
        raise NotConfirmed(f"Type {user.x_username} to confirm. Nothing was deleted.")
    billing.cancel_now(c, user)
    with c.db.begin() as session:
        kept = session.get_one(User, user.id, with_for_update=True)
        _delete_instance(session, c.jobs, kept)
        _close(session, kept, at)
    log.info("account_closed", user_id=user.id)


def forget_closed(session: Session, at: datetime) -> None:
    """Empty what closed accounts were still owed a letter for: those whose instance is gone."""
    alive = exists().where(Instance.user_id == User.id, Instance.status != "deleted")
    gone = select(User.id).where(User.deleted_at.is_not(None), ~alive)
    session.execute(
        update(User)
        .where(User.id.in_(gone), or_(User.x_name != NOBODY, User.email.is_not(None)))
        .values(x_name=NOBODY, email=None, email_verified_at=None)
    )
    sent = or_(Letter.sent_at.is_not(None), Letter.created_at < at - UNSENT_KEPT)
    session.execute(
        update(Letter)
        .where(Letter.user_id.in_(gone), Letter.recipient != "", sent)
        .values(recipient="", context="{}")
    )


def _delete_instance(session: Session, jobs: Jobs, user: User) -> None:
    instance = instances.of_user(session, user.id)
    if instance and instance.desired != "deleted":
        instances.want(
            session,
            jobs,
            instance,
            actor=f"customer {user.x_username}",
            why="they deleted their account",
            desired="deleted",
        )


def _close(session: Session, user: User, at: datetime) -> None:
    """Nobody signs in to it any more, and the next sign-in from that X account is a newcomer's.

    Name and address stay while there is an instance: a letter tells when it is gone.
    """
    service.sign_out_everywhere(session, user.id)
    visits.forget(session, user.id)
    session.execute(delete(EmailLink).where(EmailLink.user_id == user.id))
    user.deleted_at = at
    user.x_id = user.x_profile_image = user.slug = None
    user.x_username = NOBODY
    user.role = "customer"
    session.flush()
    forget_closed(session, at)
