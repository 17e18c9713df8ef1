"""The birth of a server as people see it: stages that fill with the reconciler's progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.instances.models import Instance, InstanceEvent, Progress
from webapp.instances.states import Status

State = Literal["waiting", "now", "done", "failed"]

PLACES = {"hel1": "Helsinki", "fsn1": "Falkenstein", "nbg1": "Nuremberg"}
LOG_LINES = 400  # on a page; the stream sends what comes after
SECONDS_WORTH_TELLING = 0.05


@dataclass(frozen=True)
class Stage:
    """What people see as one step: resources of the program that belong together."""

    name: str
    phase: Status
    title: str
    """With `{place}` and `{address}` to fill in."""
    resources: tuple[str, ...]


STAGES = (
    Stage("server", "creating_vps", "Ordering a server{place}", ("server",)),
    Stage("certificate", "configuring_dns", "Certificate for {address}", ("certificate",)),
    Stage("record", "configuring_dns", "Name {address}", ("record",)),
    Stage("boot", "installing", "First boot", ("reachable", "files")),
    Stage("prepare", "installing", "Firewall, swap and updates", ("prepare",)),
    Stage("node", "installing", "Node.js", ("node",)),
    Stage("openclaw", "installing", "OpenClaw", ("openclaw",)),
    Stage("caddy", "installing", "Caddy, the web server", ("caddy",)),
    Stage("gateway", "installing", "Starting the gateway", ("configure", "start")),
    Stage("check", "installing", "First health check", ("verify", "outside")),
)
_STAGE_OF = {resource: stage for stage in STAGES for resource in stage.resources}
_KEPT_IN_A_REBUILD = frozenset({"certificate", "record"})


@dataclass(frozen=True)
class StepView:
    """A stage as it stands; seconds are None where they are not known."""

    step: str
    phase: Status
    state: State
    title: str
    detail: str
    elapsed_s: float | None
    usual_s: float | None


@dataclass(frozen=True)
class LogLine:
    """A line of the live log."""

    at: datetime
    text: str
    failed: bool


@dataclass
class _Seen:
    operation_id: int
    state: str
    began: datetime
    seconds: float = 0.0


@dataclass
class Stages:
    """Folds progress rows, in their order, into stages. `usual`: service.usual_seconds;
    `address`: the instance's name on the web."""

    address: str
    usual: Mapping[str, float]
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def take(self, row: Progress) -> Stage | None:
        """Take a row in; the stage that it moved, if any."""
        stage = _STAGE_OF.get(row.resource)
        if stage is None or not row.state:
            return None
        self._begin_anew(row)
        old = self._seen.get(row.resource)
        began = old.began if old and old.operation_id == row.operation_id else row.at
        self._seen[row.resource] = _Seen(row.operation_id, row.state, began, row.seconds or 0.0)
        return stage

    def views(self, instance: Instance) -> list[StepView]:
        """Every stage as it stands for an instance in its present status."""
        failed = self._failed_stage(instance)
        return [self.view(stage, instance, failed) for stage in STAGES]

    def view(self, stage: Stage, instance: Instance, failed: Stage | None = None) -> StepView:
        """One stage; `failed`: the one to blame."""
        state: State = "failed" if stage is failed else self._state(stage, instance.status)
        place = PLACES.get(instance.location, "")
        return StepView(
            stage.name,
            stage.phase,
            state,
            stage.title.format(place=f" in {place}" if place else "", address=self.address),
            _detail(stage, state, instance),
            self._elapsed_s(stage, state),
            self._usual_s(stage),
        )

    def _begin_anew(self, row: Progress) -> None:
        """What an operation left half-way is for the next one to say; a server that is made
        again is installed again."""
        for name, seen in list(self._seen.items()):
            if seen.operation_id != row.operation_id and seen.state != "done":
                del self._seen[name]
        again = row.resource == "server" and row.state == "started" and "server" in self._seen
        if again:
            kept = {n: s for n, s in self._seen.items() if n in _KEPT_IN_A_REBUILD}
            self._seen = kept

    def _state(self, stage: Stage, status: Status) -> State:
        if status == "complete":
            return "done"
        states = [seen.state for seen in self._of(stage)]
        if "failed" in states:
            return "failed" if status in ("failed", stage.phase) else "waiting"
        if states == ["done"] * len(stage.resources):
            return "done"
        if stage.name == "check" and states == ["done"]:
            return "now"
        if not states or status in ("failed", "pending"):
            return "waiting"
        return "now"

    def _failed_stage(self, instance: Instance) -> Stage | None:
        """The first that failed; else the one that the instance names, by phase or resource."""
        if instance.status != "failed":
            return None
        for stage in STAGES:
            if any(seen.state == "failed" for seen in self._of(stage)):
                return stage
        named = instance.failed_step
        open_ = (s for s in STAGES if s.phase == named and self._state(s, "pending") != "done")
        return _STAGE_OF.get(named) or next(open_, None)

    def _of(self, stage: Stage) -> list[_Seen]:
        return [self._seen[name] for name in stage.resources if name in self._seen]

    def _elapsed_s(self, stage: Stage, state: State) -> float | None:
        seen = self._of(stage)
        if not seen or state == "waiting":
            return None
        total = sum(one.seconds for one in seen if one.state != "started")
        running = [one.began for one in seen if one.state == "started"]
        if running and state == "now":
            total += max(0.0, (clock.now() - min(running)).total_seconds())
        return round(total, 1)

    def _usual_s(self, stage: Stage) -> float | None:
        known = [self.usual[name] for name in stage.resources if name in self.usual]
        return round(sum(known), 1) if known else None


def read_stages(
    session: Session, instance: Instance, address: str, usual: Mapping[str, float], until: int
) -> Stages:
    """The stages as of the progress row `until`."""
    stages = Stages(address, usual)
    rows = session.scalars(
        select(Progress)
        .where(Progress.instance_id == instance.id, Progress.state != "", Progress.id <= until)
        .order_by(Progress.id)
    )
    for row in rows:
        stages.take(row)
    return stages


def log_line(row: Progress) -> LogLine:
    """A row as a line of the log."""
    text = row.text or " ".join(filter(None, (row.resource, row.state)))
    took = row.seconds if row.state in ("done", "failed") else None
    if took is not None and took >= SECONDS_WORTH_TELLING:
        text += f" after {took:.1f} s"
    if row.text and row.resource:
        text = f"{row.resource}: {text}"
    return LogLine(row.at, text, row.state == "failed")


def read_log(session: Session, instance_id: str, operation_id: int | None = None) -> list[Progress]:
    """The last LOG_LINES rows of an instance, or of one operation, oldest first."""
    query = select(Progress).where(Progress.instance_id == instance_id)
    if operation_id is not None:
        query = query.where(Progress.operation_id == operation_id)
    rows = session.scalars(query.order_by(Progress.id.desc()).limit(LOG_LINES))
    return list(rows)[::-1]


def told_since(
    session: Session,
    instance_id: str,
    after: int,
    operation_id: int | None = None,
    limit: int | None = None,
) -> list[Progress]:
    """Rows of an instance, or of one operation, behind the row `after`; the first `limit`."""
    query = select(Progress).where(Progress.instance_id == instance_id, Progress.id > after)
    if operation_id is not None:
        query = query.where(Progress.operation_id == operation_id)
    return list(session.scalars(query.order_by(Progress.id).limit(limit)))


def read_history(
    session: Session, instance_id: str, page: int, size: int = 20
) -> tuple[list[InstanceEvent], bool]:
    """A page (from 1) of everything that ever happened, newest first, and whether more follows."""
    rows = list(
        session.scalars(
            select(InstanceEvent)
            .where(InstanceEvent.instance_id == instance_id)
            .order_by(InstanceEvent.id.desc())
            .offset((page - 1) * size)
            .limit(size + 1)
        )
    )
    return rows[:size], len(rows) > size


def _detail(stage: Stage, state: State, instance: Instance) -> str:
    if state == "failed":
        return instance.failure
    if stage.name == "server" and state == "done" and instance.ipv4:
        return f"address {instance.ipv4}"
    return ""
