"""Browsers that try the assistant, and what was said. A visit begins with its first message."""

import hmac
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address, ip_network

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.identifiers import hash_token
from webapp.settings import WebSettings
from webapp.trial.models import ChatMessage, TrialVisit

COOKIE = "trial"
COOKIE_LIFETIME = timedelta(days=30)
IPV6_NETWORK = 64
"""Bits of an IPv6 address that name a household; the rest its machines choose at will."""


@dataclass(frozen=True)
class Conversation:
    """What a browser may see of its visit."""

    messages: tuple[ChatMessage, ...]
    remaining: int


def hash_ip(settings: WebSettings, address: str) -> str:
    """An address as it is counted, but cannot be read: keyed by CLAWDET_SECRET_KEY."""
    parsed = ip_address(address)
    if parsed.version == 6:
        address = str(ip_network(f"{parsed}/{IPV6_NETWORK}", strict=False))
    key = settings.clawdet_secret_key.get_secret_value().encode()
    return hmac.new(key, address.encode(), sha256).hexdigest()


def find(session: Session, token: str) -> TrialVisit | None:
    """The visit of a cookie."""
    if not token:
        return None
    return session.scalar(select(TrialVisit).where(TrialVisit.token_hash == hash_token(token)))


def find_or_make(session: Session, token: str, ip_hash: str, user_id: str | None) -> TrialVisit:
    """The visit of a cookie, begun if there is none. Two first messages at once begin one."""
    found = find(session, token)
    if found is None:
        with suppress(IntegrityError), session.begin_nested():
            session.add(TrialVisit(token_hash=hash_token(token), ip_hash=ip_hash, user_id=user_id))
        found = find(session, token)
    assert found
    return found


def conversation(
    session: Session, token: str, user_id: str | None, settings: WebSettings
) -> Conversation:
    """What was said so far. Once it belongs to an account, only that account sees it."""
    visit = find(session, token)
    if visit is None:
        return Conversation((), settings.clawdet_trial_messages)
    left = max(0, settings.clawdet_trial_messages - visit.used)
    if not may_read(visit, user_id):
        return Conversation((), left)
    return Conversation(tuple(messages(session, visit.id)), left)


def may_read(visit: TrialVisit, user_id: str | None) -> bool:
    """Whether a conversation is this user's, or nobody's yet."""
    return visit.user_id in (None, user_id)


def messages(session: Session, visit_id: str) -> list[ChatMessage]:
    """Everything that was said, in order."""
    found = session.scalars(
        select(ChatMessage).where(ChatMessage.visit_id == visit_id).order_by(ChatMessage.id)
    )
    return list(found)


def attach(session: Session, token: str, user_id: str) -> None:
    """The visit of a cookie belongs to an account from now on, unless it belongs to another."""
    if token:
        session.execute(
            update(TrialVisit)
            .where(TrialVisit.token_hash == hash_token(token), TrialVisit.user_id.is_(None))
            .values(user_id=user_id)
        )


def forget(session: Session, user_id: str) -> None:
    """Delete what an account's visits said. That they used their messages up stays known."""
    visits = select(TrialVisit.id).where(TrialVisit.user_id == user_id)
    session.execute(delete(ChatMessage).where(ChatMessage.visit_id.in_(visits)))
    session.execute(
        update(TrialVisit).where(TrialVisit.user_id == user_id).values(user_id=None, ip_hash="")
    )
