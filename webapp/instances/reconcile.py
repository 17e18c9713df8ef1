"""The reconciler: makes the world as an instance's row says, and writes what it saw.

Level-triggered: it reads the row, acts outside of any transaction, and writes under a guard. It may
be killed at any line and run again. DBOS runs one of them per instance at a time.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from stacks import errors
from stacks.operations import OnProgress, Result, Stacks
from webapp import clock
from webapp.adapters.orchestrator import Orchestrator, Seen, changes_of
from webapp.http.context import Clawdet
from webapp.http.logs import redact_text
from webapp.instances import letters, service, troubles
from webapp.instances.goal import Goal, Todo, read_goal
from webapp.instances.models import Action, ActionKind, Instance
from webapp.instances.operation_log import OperationLog
from webapp.instances.progress import LiveLog
from webapp.instances.states import Status

BACKUP_TRIES = 3
SOON: frozenset[ActionKind] = frozenset({"rotate_token", "rebuild", "apply"})
"""Done when the instance has been made and seen again, not before."""

log = structlog.get_logger("reconcile")


def reconcile(c: Clawdet, orchestrator: Orchestrator, instance_id: str) -> None:
    """Bring one instance to where it should be, or write why that failed and when to try again."""
    with c.db.read() as session:
        goal = read_goal(session, instance_id, clock.now())
    if goal is None:
        return
    orchestrator.begin(goal.slug)
    try:
        _Reconciler(c, orchestrator, goal).run()
    finally:
        orchestrator.end(goal.slug)


class _Reconciler:
    def __init__(self, c: Clawdet, orchestrator: Orchestrator, goal: Goal) -> None:
        self._c = c
        self._orchestrator = orchestrator
        self._goal = goal
        self._log = OperationLog(c.db, orchestrator, goal)
        self._must_make = goal.must_make
        self._approved = False

    def run(self) -> None:
        self._log.close_interrupted()
        try:
            self._act_and_converge()
        except errors.Cancelled as error:
            self._interrupted() if self._orchestrator.stopping.is_set() else self._failed(error)
        except errors.StackError as error:
            self._failed(error)

    def _act_and_converge(self) -> None:
        for todo in self._goal.todos:
            self._act(todo)
        if self._goal.only_looks:
            self._settle(None)
        elif self._goal.desired == "deleted":
            self._delete()
        elif self._goal.desired == "suspended":
            self._suspend()
        else:
            self._run_or_rest()

    # -- what should be ----------------------------------------------------------------------

    def _run_or_rest(self) -> None:
        goal = self._goal
        seen = None
        if self._must_make:
            seen = self._make()
        elif goal.powered_on:
            seen = self._see_that_it_runs()
        if not goal.powered_on:
            with self._log.run("power_off"):
                self._orchestrator.power(goal.slug, on=False)
        self._settle("complete", seen)

    def _make(self) -> Seen:
        goal = self._goal
        if goal.status in ("failed", "suspended"):
            self._set_status("pending")
        with self._log.run("up", tells_status=not goal.is_live) as run:
            self._orchestrator.prepare(goal.slug)
            result = self._stacks.up(
                goal.slug,
                refresh=goal.had_server,
                approve_server_change=self._approved,
                on_progress=run.live,
            )
            run.changes = changes_of(result)
            self._orchestrator.power(goal.slug, on=True)
            return self._look(run.live)

    def _see_that_it_runs(self) -> Seen:
        with self._log.run("power_on") as run:
            self._orchestrator.power(self._goal.slug, on=True)
            return self._look(run.live)

    def _look(self, live: LiveLog) -> Seen:
        """The check from outside: the last part of the install, as people see it."""
        began = time.monotonic()
        live.say("installing", "outside", "started", 0.0)
        try:
            seen = self._orchestrator.look(self._goal.slug)
        except errors.StackError as error:
            took_s = time.monotonic() - began
            live.say("installing", "outside", "failed", took_s, str(error))
            raise
        live.say("installing", "outside", "done", time.monotonic() - began)
        return seen

    def _suspend(self) -> None:
        with self._log.run("power_off"):
            self._orchestrator.power(self._goal.slug, on=False)
        self._settle("suspended")

    def _delete(self) -> None:
        if self._goal.status != "deleting":
            self._set_status("deleting")
        self._back_up()
        with self._log.run("destroy") as run:
            self._orchestrator.destroy(self._goal.slug, run.live)
        self._settle("deleted")

    def _back_up(self) -> None:
        goal = self._goal
        if goal.final_backup or self._orchestrator.status(goal.slug) is None:
            return
        try:
            with self._log.run("backup"):
                image = self._orchestrator.backup(goal.slug)
        except errors.Cancelled:
            raise
        except errors.StackError:
            if goal.failures + 1 < BACKUP_TRIES:
                raise
            self._record("backup", "There is no final backup: it failed too often")
            return
        with self._c.db.begin() as session:
            instance = session.get_one(Instance, goal.instance_id)
            instance.final_backup = image
            text = f"The final backup is kept as image {image}"
            service.record(session, instance, actor=service.CLAWDET, kind="backup", text=text)

    # -- what was asked for once ---------------------------------------------------------------

    def _act(self, todo: Todo) -> None:
        if todo.kind not in service.LOOKING and self._goal.desired != "running":
            self._finish(todo, "It is not running any more.")
            return
        with self._c.db.begin() as session:
            session.get_one(Action, todo.id).claimed_at = clock.now()
        try:
            self._do(todo)
        except errors.Cancelled as error:
            if self._orchestrator.stopping.is_set() or todo.kind in SOON:
                raise
            self._finish(todo, str(error))
            if todo.kind not in service.LOOKING:
                raise
            return  # somebody did not want to wait for it: nothing has failed
        except errors.StackError as error:
            if todo.kind in SOON:
                raise
            self._finish(todo, str(error))
            return
        if todo.kind in SOON:
            self._must_make = True
        else:
            self._finish(todo)

    def _do(self, todo: Todo) -> None:
        slug, stacks = self._goal.slug, self._stacks
        match todo.kind:
            case "preview":
                self._run_and_keep("preview", lambda told: stacks.preview(slug, True, told))
            case "refresh":
                self._run_and_keep("refresh", lambda told: stacks.refresh(slug, told))
            case "drift":
                self._keep_drift(self._run_and_keep("drift", lambda t: stacks.drift(slug, t)))
            case "restart":
                with self._log.run("restart"):
                    stacks.restart(slug)
            case "power_on" | "power_off":
                with self._log.run(todo.kind):
                    self._orchestrator.power(slug, on=todo.kind == "power_on")
            case "rotate_token":
                with self._log.run("rotate_token"):
                    stacks.rotate_token(slug)
            case "apply":
                self._approved = self._approved or todo.approved
            case "rebuild" if not todo.claimed:  # one that was cut is continued by `up`
                self._run_and_keep("rebuild", lambda told: stacks.rebuild(slug, told))

    def _run_and_keep(self, kind: str, call: Callable[[OnProgress], Result]) -> Result:
        with self._log.run(kind, tells_status=kind == "rebuild") as run:
            result = call(run.live)
            run.changes = changes_of(result)
        return result

    def _keep_drift(self, result: Result) -> None:
        found = [
            {"resource": c.name, "property": p.path, "expected": p.before, "found": p.after}
            for c in result.changes
            for p in c.properties
        ]
        with self._c.db.begin() as session:
            instance = session.get_one(Instance, self._goal.instance_id)
            instance.drift, instance.drift_at = found, clock.now()

    def _finish(self, todo: Todo, error: str = "") -> None:
        with self._c.db.begin() as session:
            _finish(session.get_one(Action, todo.id), error)

    # -- writing what was seen -----------------------------------------------------------------

    def _settle(self, status: Status | None, seen: Seen | None = None) -> None:
        """Write what was reached, unless the row has moved on: then the next job goes on."""
        goal, at = self._goal, clock.now()
        with self._c.db.begin() as session:
            instance = _locked(session, goal.instance_id)
            if seen:
                _write(instance, seen, at)
            self._finish_soon(session)
            if instance.generation != goal.generation:
                return
            instance.observed_generation = goal.generation
            if status is None:
                return
            instance.failures_in_a_row, instance.retry_at = 0, None
            instance.needs_approval = False
            was_live = instance.live_at is not None
            service.set_status(session, instance, status, at)
            if status == "deleted":
                instance.gateway_token, instance.retry_at = None, None
            self._tell(session, instance, was_live)

    def _tell(self, session: Session, instance: Instance, was_live: bool) -> None:
        """The letters that only the reconciler can know the moment of."""
        if instance.status == "complete" and not was_live:
            letters.write(session, self._c, instance, "live", key=instance.id, path="/dashboard")
        if instance.status == "deleted":
            letters.write(session, self._c, instance, "deleted", key=instance.id, path="/")

    def _failed(self, error: errors.StackError) -> None:
        goal, at = self._goal, clock.now()
        log.error(
            "instance_failed", slug=goal.slug, error=redact_text(str(error)), step=self._log.step
        )
        runs = goal.is_live and self._still_runs(error)
        with self._c.db.begin() as session:
            instance = _locked(session, goal.instance_id)
            self._finish_soon(session, str(error))
            if instance.generation != goal.generation:
                return
            if isinstance(error, errors.Busy):
                instance.retry_at = at + troubles.BUSY_PAUSE
                return
            instance.failures_in_a_row += 1
            trouble = troubles.explain(error, instance.failures_in_a_row)
            instance.needs_approval = isinstance(error, errors.NeedsApproval)
            again = at + troubles.pause(instance.failures_in_a_row)
            instance.retry_at = again if trouble.retry else None
            if runs:
                text = "A change waits for an operator's approval"
                service.record(session, instance, actor=service.CLAWDET, kind="approval", text=text)
                return
            instance.failed_step, instance.failure = self._log.step, trouble.what
            instance.remedy = trouble.remedy
            service.set_status(session, instance, "failed", at)

    def _still_runs(self, error: errors.StackError) -> bool:
        """Whether a live instance goes on as it was, though its plan needs an approval."""
        if not isinstance(error, errors.NeedsApproval):
            return False
        with suppress(errors.StackError):
            return self._orchestrator.status(self._goal.slug) == "running"
        return False

    def _interrupted(self) -> None:
        """The worker ends: whoever comes next goes on."""
        with self._c.db.begin() as session:
            instance = _locked(session, self._goal.instance_id)
            moment = int(clock.now().timestamp() * 1000)
            service.wake(session, self._c.jobs, instance, suffix=f"-after-{moment}")

    def _finish_soon(self, session: Session, error: str = "") -> None:
        for todo in self._goal.todos:
            action = session.get_one(Action, todo.id)
            if action.claimed_at and not action.done_at and todo.kind in SOON:
                _finish(action, error)

    def _set_status(self, status: Status) -> None:
        with self._c.db.begin() as session:
            instance = _locked(session, self._goal.instance_id)
            if instance.generation == self._goal.generation:
                service.set_status(session, instance, status, clock.now())

    def _record(self, kind: str, text: str) -> None:
        with self._c.db.begin() as session:
            instance = session.get_one(Instance, self._goal.instance_id)
            service.record(session, instance, actor=service.CLAWDET, kind=kind, text=text)

    @property
    def _stacks(self) -> Stacks:
        return self._orchestrator.stacks


def _locked(session: Session, instance_id: str) -> Instance:
    return session.get_one(Instance, instance_id, with_for_update=True)


def _finish(action: Action, error: str = "") -> None:
    action.done_at, action.error = clock.now(), redact_text(error)


def _write(instance: Instance, seen: Seen, at: datetime) -> None:
    instance.server_id, instance.ipv4 = seen.server_id, seen.ipv4
    instance.location, instance.release = seen.location, seen.release
    instance.gateway_token = seen.gateway_token
    instance.gateway_ms, instance.seen_at = seen.gateway_ms, at
