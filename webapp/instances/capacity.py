"""Whether one more server can be had. The worker asks the cloud; whoever sells only reads that."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from webapp import clock
from webapp.instances import facts

FACT = "capacity"
FRESH = timedelta(hours=1)
"""An older fact says nothing: sales must not stop because a sweep has."""


def has_capacity(session: Session) -> bool:
    """Whether to sell. As long as nobody has said otherwise lately, yes."""
    fact = facts.find(session, FACT)
    return fact is None or bool(fact.value) or clock.now() - fact.at > FRESH


def say(session: Session, available: bool, at: datetime) -> None:
    """For the sweep: whether the cloud had room for one more server at that moment."""
    facts.keep(session, FACT, available, at)
