"""Whether everything that Clawdet depends on works, as last seen; nobody is asked for this."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.accounts.models import SignIn
from webapp.billing.jobs import LOOKED_AT
from webapp.billing.models import WebhookEvent
from webapp.database import Database
from webapp.instances import capacity, facts
from webapp.jobs import Jobs, QueueStatus
from webapp.mail.models import Letter
from webapp.settings import WebSettings
from webapp.trial.models import ChatMessage

ORPHANS = "orphans"
"""The fact that the drift sweep keeps (webapp.instances.jobs)."""
SLOW_DATABASE_S = 0.5
WAITS_TOO_LONG = timedelta(minutes=2)
SWEEPS_MISSED = 3
STRIPE_QUIET = timedelta(minutes=20)


@dataclass(frozen=True)
class Check:
    """One dependency: whether it is well, what was seen and when, and what to do if it is not.

    `known`: whether anything has been seen of it; what is not known is no trouble.
    """

    name: str
    ok: bool
    text: str
    seen_at: datetime | None = None
    remedy: str = ""
    known: bool = True


@dataclass(frozen=True)
class Health:
    """All checks, and what carries our labels in the clouds and belongs to nobody."""

    checks: list[Check]
    orphans: list[dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(check.ok for check in self.checks)


def look(db: Database, jobs: Jobs, settings: WebSettings, at: datetime) -> Health:
    """How things stand at that moment."""
    began = time.perf_counter()
    with db.read() as session:
        session.execute(select(1))
        took_s = time.perf_counter() - began
        found = facts.find(session, ORPHANS)
        orphans = list(found.value) if found else []
        checks = [
            _database(db, took_s),
            *(_queue(queue, at) for queue in jobs.status(session)),
            _sweeps(session, settings, at),
            _room(session),
            _clouds(found, settings, at),
            _orphans(orphans),
            _webhooks(session, at),
            _stripe(session, at),
            _last_seen("X", session.scalar(select(func.max(SignIn.created_at)))),
            _last_seen("Anthropic", session.scalar(_LAST_ANSWER)),
            _letters(session, at),
        ]
    return Health(checks, orphans)


_LAST_ANSWER = select(func.max(ChatMessage.created_at)).where(ChatMessage.role == "assistant")


def _database(db: Database, took_s: float) -> Check:
    name = f"Database ({db.engine.dialect.name})"
    remedy = "Look at its machine's load and disk; on SQLite, at what else writes."
    return Check(name, took_s < SLOW_DATABASE_S, f"answers in {1000 * took_s:.0f} ms", None, remedy)


def _queue(queue: QueueStatus, at: datetime) -> Check:
    age = at - queue.oldest_at if queue.oldest_at and queue.waiting else timedelta()
    text = (
        f"{queue.waiting} waiting, {queue.delayed} for later, {queue.running} running, "
        f"{queue.failed} failed"
    )
    remedy = "Is a worker running? Start one: python -m webapp.worker"
    well = age < WAITS_TOO_LONG or queue.running > 0
    return Check(f"Jobs: {queue.queue}", well, text, queue.oldest_at, remedy)


def _sweeps(session: Session, settings: WebSettings, at: datetime) -> Check:
    fact = facts.find(session, capacity.FACT)
    remedy = "Start a worker: python -m webapp.worker; its log says what fails."
    if fact is None:
        return Check("Worker's sweep", False, "never seen", None, remedy)
    late = at - fact.at > _patience(settings.clawdet_sweep_s)
    return Check("Worker's sweep", not late, "swept", fact.at, remedy)


def _room(session: Session) -> Check:
    fact = facts.find(session, capacity.FACT)
    remedy = "Allow more locations (CLAWDET_LOCATIONS), or another server type; sales are stopped."
    room = fact is None or bool(fact.value)
    text = "not asked yet" if fact is None else "room for more servers" if room else "sold out"
    return Check(
        "Hetzner's capacity", room, text, fact.at if fact else None, remedy, fact is not None
    )


def _clouds(fact: facts.Fact | None, settings: WebSettings, at: datetime) -> Check:
    remedy = "The worker's log says what Hetzner or Cloudflare answered; check tokens and status."
    if fact is None:
        return Check("Hetzner and Cloudflare", True, "not swept yet", None, known=False)
    late = at - fact.at > _patience(settings.clawdet_drift_sweep_s)
    return Check("Hetzner and Cloudflare", not late, "listed", fact.at, remedy)


def _orphans(orphans: list[dict[str, Any]]) -> Check:
    text = f"{len(orphans)} in the clouds that belong to no instance" if orphans else "none"
    remedy = "They cost money. Look at each in the cloud's console, then delete it there."
    return Check("Orphans", not orphans, text, None, remedy)


def _webhooks(session: Session, at: datetime) -> Check:
    last = session.scalar(select(func.max(WebhookEvent.received_at)))
    waiting = session.scalars(
        select(WebhookEvent.received_at).where(WebhookEvent.handled_at.is_(None))
    ).all()
    old = [moment for moment in waiting if at - moment > WAITS_TOO_LONG]
    text = f"{len(waiting)} unhandled" if waiting else "all handled"
    remedy = "Open the unhandled ones under Webhooks; each says why, and can be replayed."
    text = text if last else "none received yet"
    return Check("Webhooks", not old, text, last, remedy, known=last is not None)


def _stripe(session: Session, at: datetime) -> Check:
    fact = facts.find(session, LOOKED_AT)
    if fact is None:
        return Check("Stripe", True, "not asked yet", known=False)
    remedy = "The worker's log says what Stripe answered; check the key and status.stripe.com."
    return Check("Stripe", at - fact.at < STRIPE_QUIET, "listed its events", fact.at, remedy)


def _last_seen(name: str, moment: datetime | None) -> Check:
    text = "answered" if moment else "not used yet"
    return Check(name, True, text, moment, known=moment is not None)


def _letters(session: Session, at: datetime) -> Check:
    unsent = list(session.scalars(select(Letter).where(Letter.sent_at.is_(None))))
    old = [letter for letter in unsent if at - letter.created_at > WAITS_TOO_LONG]
    last = session.scalar(select(func.max(Letter.sent_at)))
    why = next((letter.error for letter in old if letter.error), "")
    text = f"{len(unsent)} unsent" + (f": {why}" if why else "") if unsent else "all sent"
    return Check("Letters", not old, text, last, "Check SMTP_URL and the mail server.")


def _patience(every_s: float) -> timedelta:
    return timedelta(seconds=SWEEPS_MISSED * every_s + 60)
