"""The operations on an instance, as they are kept: what ran, how it went, how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from stacks import errors
from webapp import clock
from webapp.adapters.orchestrator import Orchestrator
from webapp.database import Database
from webapp.http.logs import redact_text
from webapp.instances.goal import Goal
from webapp.instances.models import Operation
from webapp.instances.progress import LiveLog, Subject
from webapp.instances.states import Status

LOG_LENGTH = 20_000
STEP_OF: dict[str, Status] = {"server": "creating_vps", "record": "configuring_dns"}
"""Of what fails before the engine has begun."""


@dataclass
class Run:
    """An operation under way: where it tells its progress, and what it would or did change."""

    live: LiveLog
    changes: list[dict[str, Any]] = field(default_factory=list)


class OperationLog:
    """Keeps the operations of one reconciliation. `step`: where the last one failed, "" if none."""

    def __init__(self, db: Database, orchestrator: Orchestrator, goal: Goal) -> None:
        self._db = db
        self._orchestrator = orchestrator
        self._goal = goal
        self.step = ""

    @contextmanager
    def run(self, kind: str, tells_status: bool = False) -> Iterator[Run]:
        """A row for what is done in the block, with its live log, outcome and changes.

        `tells_status`: its steps become the instance's status. Raises Cancelled, before anything
        is begun, once the worker is to end.
        """
        if self._orchestrator.stopping.is_set():
            raise errors.Cancelled("the worker ends")
        subject = self._begin(kind, tells_status)
        live = LiveLog(self._db, subject, lambda: self._orchestrator.cancel(self._goal.slug))
        run = Run(live)
        outcome, said = "failed", "It ended in a way that nobody foresaw."
        try:
            with live:
                yield run
            outcome, said = "succeeded", ""
        except errors.StackError as error:
            self.step = live.step or STEP_OF.get(getattr(error, "step", ""), "")
            outcome, said = self._outcome(error), _in_full(error)
            raise
        finally:
            self._end(subject.operation_id, outcome, said, run.changes)

    def close_interrupted(self) -> None:
        """End what is still open: it was cut, for nobody else works on this instance now."""
        still_open = select(Operation).where(
            Operation.instance_id == self._goal.instance_id, Operation.ended_at.is_(None)
        )
        with self._db.begin() as session:
            for row in session.scalars(still_open):
                row.ended_at, row.outcome = clock.now(), "interrupted"

    def _begin(self, kind: str, tells_status: bool) -> Subject:
        goal = self._goal
        with self._db.begin() as session:
            row = Operation(instance_id=goal.instance_id, kind=kind, generation=goal.generation)
            session.add(row)
            session.flush()
            return Subject(goal.instance_id, row.id, goal.generation, tells_status, goal.had_server)

    def _outcome(self, error: errors.StackError) -> str:
        if isinstance(error, errors.NeedsApproval):
            return "needs_approval"
        if isinstance(error, errors.Cancelled):
            return "interrupted" if self._orchestrator.stopping.is_set() else "cancelled"
        return "failed"

    def _end(self, id_: int, outcome: str, error: str, changes: list[dict[str, Any]]) -> None:
        with self._db.begin() as session:
            row = session.get_one(Operation, id_)
            row.ended_at, row.outcome, row.error = clock.now(), outcome, error
            row.changes = changes


def _in_full(error: errors.StackError) -> str:
    """For operators: what was said, what to do, and the engine's own words."""
    parts = (str(error), error.remedy, getattr(error, "log", ""))
    return redact_text("\n".join(filter(None, parts)))[:LOG_LENGTH]
