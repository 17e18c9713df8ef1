"""What the reconciler has to do for an instance, read from its rows in one go."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.instances.models import Action, ActionKind, Instance, Operation
from webapp.instances.service import LOOKING
from webapp.instances.states import Desired, Status


@dataclass(frozen=True)
class Todo:
    """An action that is not done. `claimed`: it was begun before, and cut short."""

    id: int
    kind: ActionKind
    approved: bool
    claimed: bool


@dataclass(frozen=True)
class Goal:
    """What should be, as of `generation`, and what was seen last."""

    instance_id: str
    slug: str
    desired: Desired
    powered_on: bool
    generation: int
    status: Status
    had_server: bool
    failures: int
    final_backup: str
    todos: tuple[Todo, ...]
    only_looks: bool
    """Nothing is asked for but to look: nothing may be changed."""

    @property
    def is_live(self) -> bool:
        """Whether it was seen running and has not failed since."""
        return self.status == "complete"

    @property
    def must_make(self) -> bool:
        """Whether the engine has to run, for all that is known before the actions."""
        return self.status != "complete"


def read_goal(session: Session, instance_id: str, at: datetime) -> Goal | None:
    """What to do at this moment; None for nothing: it is done, gone, or somebody else's turn."""
    instance = session.get(Instance, instance_id)
    if instance is None or instance.status == "deleted":
        return None
    todos = _todos(session, instance_id)
    if not todos and (_is_settled(instance) or _waits(session, instance, at)):
        return None
    return Goal(
        instance.id,
        instance.slug,
        instance.desired,
        instance.powered_on,
        instance.generation,
        instance.status,
        bool(instance.server_id),
        instance.failures_in_a_row,
        instance.final_backup,
        todos,
        _only_looks(session, instance, todos),
    )


def _todos(session: Session, instance_id: str) -> tuple[Todo, ...]:
    rows = session.scalars(
        select(Action)
        .where(Action.instance_id == instance_id, Action.done_at.is_(None))
        .order_by(Action.id)
    )
    return tuple(Todo(a.id, a.kind, a.approved, a.claimed_at is not None) for a in rows)


def _is_settled(instance: Instance) -> bool:
    return instance.observed_generation >= instance.generation and instance.status != "failed"


def _waits(session: Session, instance: Instance, at: datetime) -> bool:
    """Whether this generation was tried, and is to be tried again later or when asked."""
    if instance.status != "failed" and not instance.needs_approval:
        return False
    if instance.retry_at is not None and instance.retry_at <= at:
        return False
    return _tried(session, instance.id) >= instance.generation


def _tried(session: Session, instance_id: str) -> int:
    """The generation of the last attempt that came to an end of its own."""
    outcomes = ("succeeded", "failed", "needs_approval", "cancelled")
    found = session.scalar(
        select(Operation.generation)
        .where(Operation.instance_id == instance_id, Operation.outcome.in_(outcomes))
        .order_by(Operation.id.desc())
        .limit(1)
    )
    return found or 0


def _only_looks(session: Session, instance: Instance, todos: tuple[Todo, ...]) -> bool:
    if not todos or any(todo.kind not in LOOKING for todo in todos):
        return False
    known = instance.observed_generation
    if instance.status == "failed" or instance.needs_approval:
        known = max(known, _tried(session, instance.id))
    return known + len(todos) >= instance.generation
