"""Checkouts, subscriptions as Stripe last told us, and its webhook events."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.clock import now
from webapp.database import Base, UtcDateTime
from webapp.identifiers import new_id


class Checkout(Base):
    """An attempt to pay. Its id is the idempotency key at Stripe."""

    __tablename__ = "checkouts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: new_id("chk"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    stripe_session_id: Mapped[str | None] = mapped_column(String(120), unique=True)
    url: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), default="open")
    """open, complete, expired: as Stripe says."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Subscription(Base):
    """A subscription as last fetched from Stripe (`fetched_at`); Stripe is the source of truth."""

    __tablename__ = "subscriptions"

    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    status: Mapped[str] = mapped_column(String(30))
    price_id: Mapped[str] = mapped_column(String(100), default="")
    amount_cents: Mapped[int] = mapped_column(Integer, default=0)
    currency: Mapped[str] = mapped_column(String(3), default="")
    period: Mapped[str] = mapped_column(String(20), default="")
    """month, year, 3 months"""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When it began: of two that live, the newer one is too many."""
    current_period_end: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    past_due_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When we learned that a payment had failed, of those that have not been made good since."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fetched_at: Mapped[datetime] = mapped_column(UtcDateTime)
    refunded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WebhookEvent(Base):
    """That Stripe told us something, kept in the transaction that enqueues its handling."""

    __tablename__ = "webhook_events"

    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    type: Mapped[str] = mapped_column(String(100), index=True)
    payload: Mapped[str] = mapped_column(Text)
    """JSON: which object it is about. The object itself is fetched afresh; it may name a person."""
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    handled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(500), default="")
    """What handling it came to, or the error of the last try."""
    tries: Mapped[int] = mapped_column(Integer, default=0)
