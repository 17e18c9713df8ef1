"""Tidying up, by the clock."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts import closing
from webapp.accounts.models import EmailLink, SignIn, SignInAttempt
from webapp.http.context import Clawdet
from webapp.instances.models import Progress
from webapp.trial.models import ChatMessage, IpAllowance, TrialVisit

VISITS_KEPT = timedelta(days=30)
PROGRESS_KEPT = timedelta(days=90)


def clean_up(c: Clawdet) -> None:
    """Delete what is over: sign-ins, attempts, links, old chats of nobody, old progress.

    The deadlines are those of the privacy page. Safe to run at any time and twice.
    """
    at = clock.now()
    with c.db.begin() as session:
        for expiring in (SignIn, SignInAttempt, EmailLink):
            session.execute(delete(expiring).where(expiring.expires_at <= at))
        closing.forget_closed(session, at)
    with c.db.begin() as session:
        _forget_visits(session, at)
    with c.db.begin() as session:
        session.execute(delete(Progress).where(Progress.at < at - PROGRESS_KEPT))


def _forget_visits(session: Session, at: datetime) -> None:
    old = select(TrialVisit.id).where(
        TrialVisit.user_id.is_(None), TrialVisit.created_at < at - VISITS_KEPT
    )
    session.execute(delete(ChatMessage).where(ChatMessage.visit_id.in_(old)))
    session.execute(delete(TrialVisit).where(TrialVisit.id.in_(old)))
    yesterday = (at - timedelta(days=1)).date()
    session.execute(delete(IpAllowance).where(IpAllowance.day < yesterday))
