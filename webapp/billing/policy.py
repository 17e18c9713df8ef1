"""What a subscription's state entitles to: a pure function of it, the delays and the time.

Paid runs. A failed payment opens a grace period; after it the server is suspended, and after that
deleted. A cancelled subscription runs to the end of what was paid for. Paying again, at any time
before the deletion, makes everything run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from webapp.billing.words import day
from webapp.instances.states import Desired
from webapp.settings import WebSettings

Standing = Literal["none", "running", "manual", "ending", "grace", "suspended", "ended"]

PAID = frozenset({"active", "trialing"})
BEHIND = frozenset({"past_due", "unpaid", "paused"})
LIVING = PAID | BEHIND
"""Stripe's states in which it may charge; https://docs.stripe.com/billing/subscriptions/overview"""
OVER = frozenset({"canceled"})
"""Others (incomplete, incomplete_expired) never began: they count for nothing."""

REMINDER = timedelta(days=2)
"""How long before the suspension we write once more, if the grace period is long enough."""

_RANKS: tuple[Standing, ...] = (
    "manual",
    "running",
    "ending",
    "grace",
    "suspended",
    "ended",
    "none",
)


@dataclass(frozen=True)
class Delays:
    """How long a payment may be behind until suspension, and a suspension last until deletion."""

    past_due: timedelta
    suspended: timedelta

    @classmethod
    def of(cls, settings: WebSettings) -> "Delays":
        """The delays that the settings say."""
        return cls(
            timedelta(days=settings.clawdet_past_due_days),
            timedelta(days=settings.clawdet_suspended_days),
        )


@dataclass(frozen=True)
class Terms:
    """A subscription as it counts here; the names are those of the model."""

    id: str
    status: str
    created_at: datetime
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    past_due_since: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What should be (`desired`, None: nothing was ever paid), why, since when, until when.

    `next_at` is when it changes, or is paid for again; `words` say it to the customer. `remind_at`:
    when to write once more that suspension is near; `delete_at`: when it ends in deletion.
    """

    standing: Standing
    desired: Desired | None
    words: str
    since: datetime | None = None
    next_at: datetime | None = None
    remind_at: datetime | None = None
    delete_at: datetime | None = None
    subscription_id: str = ""


NOTHING = Decision("none", None, "No plan yet.")


def decide(
    subscriptions: Sequence[Terms], manual_since: datetime | None, delays: Delays, at: datetime
) -> Decision:
    """The best that any of a user's subscriptions, or a manual payment, entitles to at a moment."""
    if manual_since is not None:
        return Decision("manual", "running", "Paid by arrangement with us.", manual_since)
    newest_first = sorted(subscriptions, key=lambda one: one.created_at, reverse=True)
    found = [_judge(one, delays, at) for one in newest_first]
    return min(found, key=lambda one: _RANKS.index(one.standing), default=NOTHING)


def _judge(terms: Terms, delays: Delays, at: datetime) -> Decision:
    if terms.status in PAID:
        return _paid(terms)
    if terms.status in BEHIND:
        return _behind(terms, terms.past_due_since or at, delays, at)
    if terms.status in OVER and terms.past_due_since:
        return _ended_behind(terms, terms.past_due_since, delays, at)
    return _ended(terms, terms.ended_at or at) if terms.status in OVER else NOTHING


def _paid(terms: Terms) -> Decision:
    until = terms.current_period_end
    on = f" on {day(until)}" if until else ""
    since = terms.created_at
    if terms.cancel_at_period_end:
        # Even when that moment has passed: it ends when Stripe says that it has.
        words = f"Cancelled. Runs until it ends{on}; nothing more is charged."
        return Decision("ending", "running", words, since, until, subscription_id=terms.id)
    words = f"Paid. Renews{on}." if on else "Paid."
    return Decision("running", "running", words, since, until, subscription_id=terms.id)


def _behind(terms: Terms, since: datetime, delays: Delays, at: datetime) -> Decision:
    suspend_at = since + delays.past_due
    if at >= suspend_at:
        return _suspended(terms, suspend_at, suspend_at + delays.suspended, at)
    words = (
        f"The last payment failed. Everything runs until {day(suspend_at)}; pay before then "
        "to keep it running."
    )
    reminds = delays.past_due >= 2 * REMINDER
    return Decision(
        "grace",
        "running",
        words,
        since,
        suspend_at,
        remind_at=suspend_at - REMINDER if reminds else None,
        delete_at=suspend_at + delays.suspended,
        subscription_id=terms.id,
    )


def _ended_behind(terms: Terms, since: datetime, delays: Delays, at: datetime) -> Decision:
    """Stripe gave up, or the customer cancelled, while a payment was open: no more grace, but as
    much time as anybody has to come back."""
    delete_at = since + delays.past_due + delays.suspended
    return _suspended(terms, terms.ended_at or at, delete_at, at)


def _suspended(terms: Terms, since: datetime, delete_at: datetime, at: datetime) -> Decision:
    if at >= delete_at:
        return _ended(terms, delete_at)
    words = (
        f"Suspended, because a payment is open. Pay before {day(delete_at)} and everything "
        "comes back; after that it is deleted."
    )
    return Decision(
        "suspended",
        "suspended",
        words,
        since,
        delete_at,
        delete_at=delete_at,
        subscription_id=terms.id,
    )


def _ended(terms: Terms, since: datetime) -> Decision:
    words = f"Ended on {day(since)}. Nothing more is charged."
    return Decision("ended", "deleted", words, since, subscription_id=terms.id)
