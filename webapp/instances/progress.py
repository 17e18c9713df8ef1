"""An operation's live log: what the engine tells, written in batches while it runs."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from stacks import events
from webapp import clock
from webapp.database import Database
from webapp.http.logs import redact_text
from webapp.instances import service
from webapp.instances.models import Instance, Operation, Progress
from webapp.instances.states import STEPS, Status

FLUSH_S = 0.5
TEXT_LENGTH = 2000

log = structlog.get_logger("reconcile")


@dataclass(frozen=True)
class Subject:
    """Whose operation it is. `generation`: what the row said when it began.

    `tells_status`: whether its steps become the instance's status. `has_server`: whether there
    was a server before it.
    """

    instance_id: str
    operation_id: int
    generation: int
    tells_status: bool
    has_server: bool


class LiveLog:
    """Takes an operation's progress in, in its own thread; writes it in another.

    While it is open it also looks whether somebody has asked for the operation to be cancelled,
    and calls `cancel` then, once.
    """

    def __init__(self, db: Database, subject: Subject, cancel: Callable[[], None]) -> None:
        self._db = db
        self._subject = subject
        self._cancel = cancel
        self._waiting: SimpleQueue[Progress] = SimpleQueue()
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write_on, daemon=True)
        self._canceller: threading.Thread | None = None
        self._server_done = subject.has_server
        self._status: Status | None = None
        self._shown: Status | None = None
        self.step = ""
        """The step that failed, else the last that began."""
        if not subject.has_server:
            self._reach("creating_vps")

    def __enter__(self) -> "LiveLog":
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._writer.join()
        if self._canceller:
            self._canceller.join()
        self._flush()

    def __call__(self, told: events.Progress) -> None:
        """What the engine tells."""
        state = "" if told.state == "said" else told.state
        self._take(told.phase, told.resource, state, told.elapsed_s, told.text)

    def say(
        self, step: Status, resource: str, state: str, elapsed_s: float, text: str = ""
    ) -> None:
        """A step of ours."""
        self._take(step, resource, state, elapsed_s, text)

    def _take(self, step: str, resource: str, state: str, elapsed_s: float, text: str) -> None:
        if state == "failed" or (state == "started" and step):
            self.step = step or resource
        if step in STEPS and state:
            self._advance(STEPS[STEPS.index(step)], state)
        self._waiting.put(
            Progress(
                instance_id=self._subject.instance_id,
                operation_id=self._subject.operation_id,
                at=clock.now(),
                step=step,
                resource=resource[:80],
                state=state,
                seconds=elapsed_s if state in ("done", "failed") else None,
                text=redact_text(text)[:TEXT_LENGTH],
            )
        )

    def _advance(self, step: Status, state: str) -> None:
        """A server comes first to people, though its certificate is ordered at the same time."""
        if step == "creating_vps" and state == "done":
            self._server_done = True
            self._reach("configuring_dns")
        elif self._server_done or step == "creating_vps":
            self._reach(step)

    def _reach(self, step: Status) -> None:
        if self._status is None or STEPS.index(step) > STEPS.index(self._status):
            self._status = step

    def _write_on(self) -> None:
        while not self._ended.wait(FLUSH_S):
            try:
                self._flush()
                self._look_for_cancel()
            except SQLAlchemyError as error:  # a busy database: nothing is lost, it waits
                log.warning("progress_waits", error=type(error).__name__)

    def _flush(self) -> None:
        rows = self._drain()
        status = self._status if self._subject.tells_status else None
        if not rows and status == self._shown:
            return
        try:
            with self._db.begin() as session:
                session.add_all(rows)
                if status and status != self._shown:
                    self._show(session, status)
            self._shown = status
        except SQLAlchemyError:
            for row in rows:
                self._waiting.put(_copy(row))
            raise

    def _show(self, session: Session, status: Status) -> None:
        instance = session.get_one(Instance, self._subject.instance_id)
        if instance.generation == self._subject.generation:
            service.set_status(session, instance, status, clock.now())

    def _look_for_cancel(self) -> None:
        if self._canceller:
            return
        with self._db.read() as session:
            asked = session.get_one(Operation, self._subject.operation_id).cancel_requested
        if asked:
            self._canceller = threading.Thread(target=self._cancel, daemon=True)
            self._canceller.start()

    def _drain(self) -> list[Progress]:
        rows = []
        try:
            while True:
                rows.append(self._waiting.get_nowait())
        except Empty:
            return rows


def _copy(row: Progress) -> Progress:
    """A row that a failed transaction has not claimed."""
    names = ("instance_id", "operation_id", "at", "step", "resource", "state", "seconds", "text")
    return Progress(**{name: getattr(row, name) for name in names})
