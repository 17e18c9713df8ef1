"""Everything that is kept of a person, for that person. Secrets of ours are left out."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from webapp.accounts.models import EmailLink, SignIn, User
from webapp.billing.models import Checkout, Subscription
from webapp.database import Base
from webapp.instances.models import Instance, InstanceEvent
from webapp.mail.models import Letter
from webapp.trial.models import ChatMessage, TrialVisit

_OURS = frozenset({"token_hash", "ip_hash", "context"})
"""Columns that would let somebody in, or that say nothing to the person."""

Document = dict[str, Any]


def of_user(session: Session, user_id: str, at: datetime) -> Document:
    """What the database has of a user, as JSON: every column of every row, times in ISO 8601."""
    return {
        "exportedAt": at.isoformat(),
        "user": _row(session.get_one(User, user_id)),
        "signedInBrowsers": _rows(session, SignIn, user_id),
        "emailLinks": _rows(session, EmailLink, user_id),
        "letters": _rows(session, Letter, user_id),
        "chats": _chats(session, user_id),
        "checkouts": _rows(session, Checkout, user_id),
        "subscriptions": _rows(session, Subscription, user_id),
        "instances": _instances(session, user_id),
    }


def _chats(session: Session, user_id: str) -> list[Document]:
    found = []
    for visit in session.scalars(select(TrialVisit).where(TrialVisit.user_id == user_id)):
        messages = session.scalars(
            select(ChatMessage).where(ChatMessage.visit_id == visit.id).order_by(ChatMessage.id)
        )
        found.append(_row(visit) | {"messages": [_row(message) for message in messages]})
    return found


def _instances(session: Session, user_id: str) -> list[Document]:
    found = []
    for instance in session.scalars(select(Instance).where(Instance.user_id == user_id)):
        events = session.scalars(
            select(InstanceEvent)
            .where(InstanceEvent.instance_id == instance.id)
            .order_by(InstanceEvent.id)
        )
        found.append(_row(instance) | {"events": [_row(event) for event in events]})
    return found


def _rows(session: Session, model: Any, user_id: str) -> list[Document]:
    return [_row(row) for row in session.scalars(select(model).where(model.user_id == user_id))]


def _row(row: Base) -> Document:
    names = [column.key for column in inspect(type(row)).column_attrs]
    return {_camel(name): _plain(getattr(row, name)) for name in names if name not in _OURS}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
