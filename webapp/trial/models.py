"""The trial chat: visitors, their messages, and what the day has cost."""

from datetime import date, datetime
from typing import Literal

from sqlalchemy import BigInteger, Date, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.clock import now
from webapp.database import Base, UtcDateTime
from webapp.identifiers import new_id


class TrialVisit(Base):
    """A browser that tries the assistant. Its cookie `trial` holds the token; we keep the hash.

    `used` counts messages that were answered; `ip_hash` is keyed, so that no address is kept.
    """

    __tablename__ = "trial_visits"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: new_id("try"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    ip_hash: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    used: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class ChatMessage(Base):
    """One message. It belongs to a visit, and by that to the account that signed in from it."""

    __tablename__ = "chat_messages"
    __table_args__ = (Index("ix_chat_messages_visit_id_id", "visit_id", "id"),)

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    visit_id: Mapped[str] = mapped_column(ForeignKey("trial_visits.id"))
    role: Mapped[Literal["user", "assistant"]] = mapped_column(String(10))
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class IpAllowance(Base):
    """Messages that an address has sent on a day."""

    __tablename__ = "trial_ip_allowances"

    ip_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    used: Mapped[int] = mapped_column(Integer, default=0)


class TrialSpend(Base):
    """What the model has cost us on a day, all visitors together; reserved before it is asked."""

    __tablename__ = "trial_spend"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    micro_usd: Mapped[int] = mapped_column(BigInteger, default=0)
