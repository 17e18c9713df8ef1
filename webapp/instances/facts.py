"""Facts that one process finds out and another reads: each has a name, a value and a moment."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from webapp.database import Base, UtcDateTime


class Fact(Base):
    """What was last found out under a name."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


def find(session: Session, name: str) -> Fact | None:
    """The fact, or None while nobody has found it out."""
    return session.get(Fact, name)


def keep(session: Session, name: str, value: Any, at: datetime) -> None:
    """Write what was found out at that moment; `value` is JSON."""
    session.merge(Fact(name=name, value=value, at=at))
