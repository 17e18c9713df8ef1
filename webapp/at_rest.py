"""What is encrypted at rest: whether today's keys read it, and forgetting what none of them reads.

A gateway token is a copy, which the next `apply` takes from the stack again; a letter is not. A
sign-in under way is left out: it is over in minutes.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr
from sqlalchemy import LargeBinary, delete, select, type_coerce, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from webapp.database import Database, Encrypted
from webapp.errors import SettingsError
from webapp.instances.models import Instance
from webapp.mail.models import Letter

AT_ONCE = 500


def check(db: Database, keys: Sequence[SecretStr]) -> None:
    """Raise SettingsError if a key is missing that something was kept with: better now than on
    every page."""
    Encrypted.use_keys(keys)
    with db.read() as session:
        tokens, letters = _unreadable(session)
    if tokens or letters:
        raise SettingsError(
            "CLAWDET_ENCRYPTION_KEYS lacks the key that was used before: "
            f"{len(tokens)} gateway tokens and {len(letters)} letters can't be read. Add it behind "
            "the new one. If it is lost for good, run: python -m webapp.migrate forget-unreadable"
        )


def forget_unreadable(db: Database, keys: Sequence[SecretStr]) -> tuple[int, int]:
    """Forget what no key reads; how many gateway tokens and letters that were."""
    Encrypted.use_keys(keys)
    with db.begin() as session:
        tokens, letters = _unreadable(session)
        for ids in _some(tokens):
            session.execute(update(Instance).where(Instance.id.in_(ids)).values(gateway_token=None))
        for ids in _some(letters):
            session.execute(delete(Letter).where(Letter.id.in_(ids), Letter.sent_at.is_(None)))
            # Those that were sent stay, without their text: none is sent a second time.
            session.execute(update(Letter).where(Letter.id.in_(ids)).values(context="{}"))
    return len(tokens), len(letters)


def _unreadable(session: Session) -> tuple[list[str], list[str]]:
    """Ids of instances by their tokens, and of letters by their contents."""
    return (
        _ids(session, Instance.id, Instance.gateway_token),
        _ids(session, Letter.id, Letter.context),
    )


def _ids(
    session: Session, id_: InstrumentedAttribute[str], secret: InstrumentedAttribute[Any]
) -> list[str]:
    kept = select(id_, type_coerce(secret, LargeBinary)).where(secret.is_not(None))
    return [
        found
        for found, value in session.execute(kept).yield_per(AT_ONCE)
        if not Encrypted.reads(value)
    ]


def _some(ids: list[str]) -> list[list[str]]:
    return [ids[i : i + AT_ONCE] for i in range(0, len(ids), AT_ONCE)]
