"""Progress as server-sent events. One poller per process asks the database, whatever the number of
streams; a stream reads its own rows only when the poller rings, and once per heartbeat.

An open stream costs a thread that sleeps. Events carry an id to resume from: a progress row's, and
with a status told since, that as well (`41`, `41-complete`).
"""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog
from flask import Response, current_app
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.database import Database
from webapp.instances import service, timeline
from webapp.instances.models import Instance, Operation, Progress
from webapp.instances.states import Status

EXTENSION = "clawdet_watcher"
HEARTBEAT_S = 15.0
POLL_S = 0.5
# Rows are numbered before they are committed: one may appear after a higher one of another's.
LOOK_BACK = 1000
BATCH = 500
SETTLED: frozenset[Status] = frozenset({"complete", "failed", "suspended", "deleted"})
HEARTBEAT = ": here\n\n"
MIME = "text/event-stream"

Now = Literal["more", "open", "settled"]

log = structlog.get_logger("stream")


class Watcher:
    """Rings for the instances that something has happened to. Its thread lives while somebody
    listens."""

    def __init__(self, db: Database, poll_s: float = POLL_S) -> None:
        self._db = db
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._bells: dict[str, set[threading.Event]] = defaultdict(set)
        self._thread: threading.Thread | None = None

    @contextmanager
    def listen(self, instance_id: str) -> Iterator[threading.Event]:
        """A bell that rings when there may be news; whoever hears it clears it."""
        bell = threading.Event()
        with self._lock:
            self._bells[instance_id].add(bell)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()
        try:
            yield bell
        finally:
            with self._lock:
                self._bells[instance_id].discard(bell)
                if not self._bells[instance_id]:
                    del self._bells[instance_id]

    def _run(self) -> None:
        seen: dict[str, object] = {}
        pause = threading.Event()
        while self._wanted():
            try:
                seen = self._look(seen)
            except SQLAlchemyError as error:  # streams look for themselves at every heartbeat
                log.warning("progress_not_read", error=type(error).__name__)
            pause.wait(self._poll_s)

    def _wanted(self) -> bool:
        with self._lock:
            if not self._bells:
                self._thread = None
            return bool(self._bells)

    def _look(self, seen: dict[str, object]) -> dict[str, object]:
        with self._lock:
            wanted = list(self._bells)
        with self._db.read() as session:
            found = _marks(session, wanted)
        changed = [name for name in wanted if found.get(name) != seen.get(name)]
        with self._lock:
            for name in changed:
                for bell in self._bells.get(name, ()):
                    bell.set()
        return found


@dataclass
class Stream:
    """What one browser is told about an instance, or about one `operation_id` of it.

    `address`: the instance's name on the web. `after`, `told`: the last row and status it knows.
    """

    db: Database
    watcher: Watcher
    instance_id: str
    address: str
    after: int = 0
    told: str = ""
    operation_id: int | None = None
    heartbeat_s: float = HEARTBEAT_S
    _stages: timeline.Stages | None = field(default=None, init=False)

    def events(self) -> Generator[str, None, None]:
        """Until it is settled. Holds no transaction while it waits."""
        with self.watcher.listen(self.instance_id) as bell:
            while True:
                bell.clear()
                with self.db.read() as session:
                    news, now = self._read(session)
                yield from news
                if now == "settled":
                    return
                if now == "open":
                    if not news:
                        yield HEARTBEAT
                    bell.wait(self.heartbeat_s)

    def is_over(self) -> bool:
        """Whether this browser knows all there is to know."""
        with self.db.read() as session:
            status, settled = self._status(session)
            return settled and status == self.told and not self._rows(session, limit=1)

    def _read(self, session: Session) -> tuple[list[str], Now]:
        # The status first: rows that came before it are then surely read.
        status, settled = self._status(session)
        rows = self._rows(session)
        instance = session.get_one(Instance, self.instance_id)
        tell = self._stage_teller(session, instance) if self.operation_id is None else _nothing
        news = []
        for row in rows:
            news += _messages(row, tell(row))
            self.after = row.id
        if len(rows) == BATCH:
            return news, "more"
        if status != self.told:
            news.append(message("status", {"status": status}, f"{self.after}-{status}"))
            self.told = status
        return news, "settled" if settled else "open"

    def _rows(self, session: Session, limit: int = BATCH) -> list[Progress]:
        return timeline.told_since(session, self.instance_id, self.after, self.operation_id, limit)

    def _status(self, session: Session) -> tuple[str, bool]:
        if self.operation_id is None:
            status = session.get_one(Instance, self.instance_id).status
            return status, status in SETTLED
        outcome = session.get_one(Operation, self.operation_id).outcome
        return {"": "running", "succeeded": "complete"}.get(outcome, "failed"), bool(outcome)

    def _stage_teller(
        self, session: Session, instance: Instance
    ) -> Callable[[Progress], dict[str, Any] | None]:
        if self._stages is None:
            usual = service.usual_seconds(session)
            self._stages = timeline.read_stages(
                session, instance, self.address, usual, until=self.after
            )
        stages = self._stages

        def tell(row: Progress) -> dict[str, Any] | None:
            stage = stages.take(row)
            return _step(stages.view(stage, instance)) if stage else None

        return tell


def watcher() -> Watcher:
    """The running application's."""
    found: Watcher = current_app.extensions[EXTENSION]
    return found


def respond(stream: Stream) -> Response:
    """The stream as an answer; 204, which ends an EventSource for good, when it is over."""
    if stream.is_over():
        return Response(status=204)
    # A proxy in between must not gather what is meant to arrive at once.
    return Response(stream.events(), content_type=MIME, headers={"X-Accel-Buffering": "no"})


def parse_id(event_id: str) -> tuple[int, str]:
    """Row and status of an event id; (0, "") of what is none."""
    row, _, status = event_id.partition("-")
    return (int(row), status) if row.isdecimal() and len(row) < 19 else (0, "")


def message(event: str, data: dict[str, Any], id_: str = "") -> str:
    """One server-sent event."""
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _messages(row: Progress, step: dict[str, Any] | None) -> list[str]:
    """A row as events. The last one carries the id: a browser that was cut off between them is
    told both again, which does no harm to a step."""
    line = timeline.log_line(row)
    told = {"at": line.at.isoformat(), "text": line.text, "failed": line.failed}
    before = [message("step", step)] if step else []
    return [*before, message("log", told, str(row.id))]


def _step(view: timeline.StepView) -> dict[str, Any]:
    return {
        "step": view.step,
        "state": view.state,
        "title": view.title,
        "detail": view.detail,
        "elapsedS": view.elapsed_s,
        "usualS": view.usual_s,
    }


def _nothing(row: Progress) -> None:
    del row


def _marks(session: Session, wanted: list[str]) -> dict[str, object]:
    """By instance: something that differs when there is news of it."""
    last = session.scalar(select(func.max(Progress.id))) or 0
    rows = session.execute(
        select(Progress.instance_id, func.max(Progress.id))
        .where(Progress.id > last - LOOK_BACK)
        .group_by(Progress.instance_id)
    )
    newest: dict[str, int] = {row[0]: row[1] for row in rows}
    states = session.execute(
        select(Instance.id, Instance.status, Instance.updated_at).where(Instance.id.in_(wanted))
    )
    return {name: (newest.get(name, 0), status, at) for name, status, at in states}
