"""What the fleet's pages show, read from the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from webapp.accounts.models import User
from webapp.billing.models import WebhookEvent
from webapp.errors import NotFound
from webapp.fleet.needs import NEEDS, NOTHING, rank
from webapp.instances.models import Instance, Operation
from webapp.instances.states import TRANSITIONS

PAGE = 50
STATES = ("needs me", "alive", *TRANSITIONS)
SORTS: dict[str, Any] = {
    "newest": Instance.created_at.desc(),
    "oldest": Instance.created_at.asc(),
    "name": Instance.slug.asc(),
    "state": Instance.status.asc(),
    "lag": (Instance.generation - Instance.observed_generation).desc(),
    "answer": func.coalesce(Instance.gateway_ms, 0).desc(),
}

Found = Select[Instance, User, int]


@dataclass(frozen=True)
class Filters:
    """What the address bar asks for. `state`: one of STATES or "" for all that is not deleted."""

    q: str = ""
    state: str = ""
    sort: str = "newest"
    page: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether nothing was filtered or paged."""
        return not self.q and not self.state and self.page == 1


@dataclass(frozen=True)
class Row:
    """An instance, whose it is, and what it needs ("" for nothing)."""

    instance: Instance
    user: User
    need: str

    @property
    def lag(self) -> int:
        """How many generations it is behind."""
        return self.instance.generation - self.instance.observed_generation


@dataclass(frozen=True)
class Page:
    """Some rows, how many there are in all, and whether more follow."""

    rows: list[Row]
    total: int
    more: bool


def fleet(session: Session, filters: Filters, at: datetime, deadline_s: float) -> Page:
    """The page of instances that the filters ask for."""
    need = rank(at, deadline_s)
    found = _filtered(filters, need)
    total = session.scalar(select(func.count()).select_from(found.subquery())) or 0
    sort = SORTS.get(filters.sort, SORTS["newest"])
    query = found.order_by(sort, Instance.id).offset((filters.page - 1) * PAGE).limit(PAGE + 1)
    rows = _rows(session.execute(query).all())
    return Page(rows[:PAGE], total, len(rows) > PAGE)


def needing(session: Session, at: datetime, deadline_s: float, limit: int = PAGE) -> list[Row]:
    """Those that need somebody, what presses most first, then whoever waits longest."""
    need = rank(at, deadline_s)
    query = _base(need).where(need < NOTHING).order_by(need, Instance.status_since).limit(limit)
    return _rows(session.execute(query).all())


def find(session: Session, slug: str, instance_id: str = "") -> Instance:
    """The instance of that name: the living one, else the last; or an earlier one by its id."""
    query = select(Instance).where(Instance.slug == slug)
    if instance_id:
        query = query.where(Instance.id == instance_id)
    order = ((Instance.status == "deleted").asc(), Instance.created_at.desc())
    found = session.scalar(query.order_by(*order))
    if found is None:
        raise NotFound(f"There is no instance {slug}.", "The fleet's page lists those there are.")
    return found


def namesakes(session: Session, instance: Instance) -> list[Instance]:
    """Others that have, or had, its name, newest first."""
    query = select(Instance).where(Instance.slug == instance.slug, Instance.id != instance.id)
    return list(session.scalars(query.order_by(Instance.created_at.desc())))


def operations(session: Session, instance_id: str, limit: int = 20) -> list[Operation]:
    """The latest operations, newest first."""
    query = select(Operation).where(Operation.instance_id == instance_id)
    return list(session.scalars(query.order_by(Operation.id.desc()).limit(limit)))


def webhooks(
    session: Session, q: str = "", unhandled: bool = False, page: int = 1
) -> tuple[list[WebhookEvent], bool]:
    """A page of Stripe's events, newest first, and whether more follow."""
    query = select(WebhookEvent).order_by(WebhookEvent.received_at.desc(), WebhookEvent.id)
    if unhandled:
        query = query.where(WebhookEvent.handled_at.is_(None))
    if q:
        columns = (WebhookEvent.id, WebhookEvent.type, WebhookEvent.payload)
        query = query.where(or_(*(contains(column, q) for column in columns)))
    rows = list(session.scalars(query.offset((page - 1) * PAGE).limit(PAGE + 1)))
    return rows[:PAGE], len(rows) > PAGE


def contains(column: Any, text: str) -> ColumnElement[bool]:
    """Whether a column contains the text, letter case apart; % and _ mean themselves."""
    found: ColumnElement[bool] = column.icontains(text, autoescape=True)
    return found


def _base(need: ColumnElement[int]) -> Found:
    return select(Instance, User, need.label("need")).join(User, User.id == Instance.user_id)


def _filtered(filters: Filters, need: ColumnElement[int]) -> Found:
    query = _base(need)
    if filters.state == "needs me":
        query = query.where(need < NOTHING)
    elif filters.state in TRANSITIONS:
        query = query.where(Instance.status == filters.state)
    elif filters.state == "alive" or not filters.q:
        query = query.where(Instance.status != "deleted")
    if filters.q:
        columns = (Instance.slug, User.x_username, User.email, Instance.ipv4, Instance.server_id)
        query = query.where(or_(*(contains(column, filters.q) for column in columns)))
    return query


def _rows(found: Sequence[Any]) -> list[Row]:
    return [
        Row(instance, user, NEEDS[need] if need < NOTHING else "") for instance, user, need in found
    ]
