"""Which instances need somebody, and why: one expression, for the table and for the count."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select

from webapp.billing.models import Subscription
from webapp.instances.models import Instance
from webapp.instances.states import WORKING

NEEDS = ("approval", "failed", "stuck", "drifted", "past due")
"""In the order of how much they press."""
NOTHING = len(NEEDS)

_PAST_DUE = exists(
    select(Subscription.id).where(
        Subscription.user_id == Instance.user_id,
        Subscription.past_due_since.is_not(None),
        Subscription.ended_at.is_(None),
    )
)


def rank(at: datetime, deadline_s: float) -> ColumnElement[int]:
    """The index in NEEDS of what presses most, NOTHING if nothing does."""
    alive = Instance.status != "deleted"
    return case(
        (and_(alive, Instance.needs_approval), 0),
        (and_(alive, Instance.status == "failed"), 1),
        (_is_stuck(at, deadline_s), 2),
        (and_(alive, func.json_array_length(Instance.drift) > 0), 3),
        (and_(alive, _PAST_DUE), 4),
        else_=NOTHING,
    )


def _is_stuck(at: datetime, deadline_s: float) -> Any:
    """Not live by the deadline, or at something, or behind, for longer than that."""
    before = at - timedelta(seconds=deadline_s)
    never_live = and_(
        Instance.live_at.is_(None), Instance.created_at < before, Instance.desired == "running"
    )
    working = and_(Instance.status.in_(WORKING), Instance.status_since < before)
    behind = and_(Instance.observed_generation < Instance.generation, Instance.updated_at < before)
    return and_(Instance.status != "deleted", or_(never_live, working, behind))
