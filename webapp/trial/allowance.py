"""Who may still ask: five messages a visit, some more a network and day, a budget for everybody.

All three are taken before the model is asked, in one transaction, each by an UPDATE that counts
and checks at once: however many ask at the same time, no allowance is exceeded.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import structlog
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.database import Base
from webapp.errors import TooMany, Unavailable
from webapp.settings import WebSettings
from webapp.trial.models import IpAllowance, TrialSpend, TrialVisit

MICRO = 1_000_000

log = structlog.get_logger(__name__)


class TrialOver(TooMany):
    """The visit has used its messages up."""

    code = "trial_over"


class BudgetSpent(Unavailable):
    """The day's money for the trial is gone."""

    code = "trial_budget"


@dataclass(frozen=True)
class Reservation:
    """What was taken for one message, to be settled once."""

    visit_id: str
    ip_hash: str
    day: date
    micro_usd: int


def reserve(session: Session, wanted: Reservation, settings: WebSettings) -> None:
    """Take one message and its cost at most. Raises TrialOver, TooMany or BudgetSpent."""
    _take_of_visit(session, wanted, settings.clawdet_trial_messages)
    _take_of_network(session, wanted, settings.clawdet_trial_messages_per_ip_a_day)
    _take_of_budget(session, wanted, int(settings.clawdet_trial_budget_usd_a_day * MICRO))


def correct(session: Session, taken: Reservation, micro_usd: int) -> None:
    """The message was answered, and has cost `micro_usd`."""
    session.execute(
        update(TrialSpend)
        .where(TrialSpend.day == taken.day)
        .values(micro_usd=TrialSpend.micro_usd - taken.micro_usd + micro_usd)
    )


def give_back(session: Session, taken: Reservation, micro_usd: int) -> None:
    """The message was not answered: it does not count, whatever it has cost us."""
    session.execute(
        update(TrialVisit)
        .where(TrialVisit.id == taken.visit_id, TrialVisit.used > 0)
        .values(used=TrialVisit.used - 1)
    )
    session.execute(
        update(IpAllowance)
        .where(
            IpAllowance.ip_hash == taken.ip_hash,
            IpAllowance.day == taken.day,
            IpAllowance.used > 0,
        )
        .values(used=IpAllowance.used - 1)
    )
    correct(session, taken, micro_usd)


def _take_of_visit(session: Session, wanted: Reservation, allowance: int) -> None:
    taken = session.execute(
        update(TrialVisit)
        .where(TrialVisit.id == wanted.visit_id, TrialVisit.used < allowance)
        .values(used=TrialVisit.used + 1)
        .returning(TrialVisit.id)
    )
    if taken.first() is None:
        raise TrialOver(
            f"Those were your {allowance} free messages.",
            "Your own assistant does not count. Sign in with X to get it.",
        )


def _take_of_network(session: Session, wanted: Reservation, allowance: int) -> None:
    _ensure(session, IpAllowance(ip_hash=wanted.ip_hash, day=wanted.day, used=0))
    taken = session.execute(
        update(IpAllowance)
        .where(
            IpAllowance.ip_hash == wanted.ip_hash,
            IpAllowance.day == wanted.day,
            IpAllowance.used < allowance,
        )
        .values(used=IpAllowance.used + 1)
        .returning(IpAllowance.used)
    )
    if taken.first() is None:
        raise TooMany(
            "That is all from your network for today.",
            "The free chat is shared by everybody behind your address. Come back tomorrow, or "
            "sign in with X to get your own assistant.",
        )


def _take_of_budget(session: Session, wanted: Reservation, budget: int) -> None:
    _ensure(session, TrialSpend(day=wanted.day, micro_usd=0))
    taken = session.execute(
        update(TrialSpend)
        .where(TrialSpend.day == wanted.day, TrialSpend.micro_usd + wanted.micro_usd <= budget)
        .values(micro_usd=TrialSpend.micro_usd + wanted.micro_usd)
        .returning(TrialSpend.micro_usd)
    )
    if taken.first() is None:
        log.error("trial_budget_spent", day=wanted.day.isoformat(), budget_micro_usd=budget)
        raise BudgetSpent(
            "The free chat rests until tomorrow.",
            "It has a budget for each day, and today's is spent. Your message was not counted.",
        )


def _ensure(session: Session, row: Base) -> None:
    """Have a row of this key; one that is there already stays."""
    with suppress(IntegrityError), session.begin_nested():
        session.add(row)
