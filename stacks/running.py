"""One operation at a time per stack, a bounded number per machine; each can be ended on request."""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pulumi.automation import errors as sdk

from stacks import failures, spec
from stacks.command import kill_all, session_members, stop_session
from stacks.engine import Engine
from stacks.errors import Busy, Cancelled, StackError
from stacks.events import STACK_TYPE, Change, Progress, Recorder
from stacks.locks import Holder, StackLock, current_holder, hold_slot, hold_stack
from stacks.project import EngineStack, ProjectStack
from stacks.settings import Settings

# Called in a thread of the operation's own, in order, as things happen. It must be quick and must
# not raise: the operation would go on, but nothing more of it be heard, and its Result lack it.
OnProgress = Callable[[Progress], None]
EngineCall = Callable[[EngineStack, Callable[[Any], None]], object]

SLOT_WAIT_S = 3600.0  # an operation queues for memory; an install takes minutes
CANCEL_S = 45.0  # two interrupts and a kill (stacks.command), with a margin


@dataclass(frozen=True)
class Result:
    """What an operation did, or for a preview or drift would do. `seconds`: wall time."""

    stack: str
    operation: str
    changes: tuple[Change, ...]
    counts: dict[str, int]
    outputs: dict[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything differs, or was changed."""
        return bool(self.changes)


@dataclass
class Operation:
    """One operation under way: its stack, its lock, and what it has to say."""

    stack: ProjectStack
    lock: StackLock
    on_progress: OnProgress
    began: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it does: preview, up, …"""
        return self.lock.holder.operation

    def run(self, call: EngineCall, quiet: bool = False) -> Recorder:
        """Run the engine through the Automation API; what it told. Raises StackError."""
        recorder = Recorder() if quiet else Recorder(self.on_progress)
        try:
            call(self.stack.automation(), recorder.on_event)
        except sdk.CommandError as error:
            raise failures.translate(error, self.stack.name, recorder) from error
        return recorder

    def result(self, recorder: Recorder) -> Result:
        """The operation's result, as `recorder` heard it."""
        looked = self.name in ("drift", "refresh")
        changes = recorder.drift if looked else recorder.changes
        return Result(
            self.stack.name,
            self.name,
            tuple(c for c in changes if c.type != STACK_TYPE),
            dict(Counter(c.op for c in changes)) if looked else recorder.counts,
            recorder.outputs,
            time.monotonic() - self.began,
            tuple(self.notes),
        )


class Operations:
    """Begins operations and ends them; any number at once from any number of threads.

    `wait_s`: how long an operation waits for another one on the same stack before it is Busy.
    """

    def __init__(
        self, settings: Settings, engine: Engine, debug_providers: str, wait_s: float
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._debug_providers = debug_providers
        self._wait_s = wait_s
        self._locks = settings.state_dir / "locks"

    def stack(self, slug: str) -> ProjectStack:
        """The stack, for reading: without any lock. Raises UnknownStack."""
        stack = self._named(slug)
        stack.check_exists()
        return stack

    def holder(self, slug: str) -> Holder | None:
        """Who runs an operation on the stack now."""
        return current_holder(self._locks, spec.check_slug(slug))

    @contextmanager
    def begin(
        self,
        slug: str,
        name: str,
        on_progress: OnProgress = lambda _: None,
        runs_engine: bool = True,
    ) -> Iterator[Operation]:
        """Hold the stack for one operation. Raises Busy, Cancelled, or what the operation raises;
        an OSError (a full disk, a folder that can't be written) becomes an OperationFailed.

        `runs_engine`: False for one that need not queue for memory, and that mends nothing of what
        an operation before it may have left.
        """
        stack = self._named(slug) if name == "init" else self.stack(slug)
        with (
            failures.of_this_machine(),
            hold_stack(self._locks, slug, name, self._wait_s) as lock,
            self._cancellable(lock),
            self._slot(lock) if runs_engine else contextlib.nullcontext(),
        ):
            if lock.previous:
                _end_orphans(lock.previous, stack.home)
            if lock.previous or name == "cancel":
                stack.mend_files()
            lock.mends = runs_engine
            operation = Operation(stack, lock, on_progress)
            stack.command.before_start = lambda: self._check(lock)
            stack.command.on_start = lock.engine_started
            stack.command.on_note = operation.notes.append
            yield operation

    def stop(self, slug: str, holder: Holder) -> None:
        """End the operation that `holder` runs on this host; returns when it is over.

        It is asked by a mark that it looks at before it starts an engine, and while it queues; a
        running engine is interrupted. Raises Busy if it does not end.
        """
        if holder.host != socket.gethostname():
            raise Busy(f"{slug}: {holder}", f"cancel it there: on {holder.host}")
        self._mark(slug).write_text(holder.id)
        deadline = time.monotonic() + CANCEL_S
        while (now := self.holder(slug)) is not None and now.id == holder.id:
            if now.engine_alive():
                stop_session(now.engine_pid)
            if time.monotonic() > deadline:
                raise Busy(
                    f"{slug} does not stop: {now}", f"end process {now.pid}, then cancel again"
                )
            time.sleep(0.1)

    def _named(self, slug: str) -> ProjectStack:
        slug = spec.check_slug(slug)
        return ProjectStack(self._settings, self._engine, slug, self._debug_providers)

    def _slot(self, lock: StackLock) -> contextlib.AbstractContextManager[None]:
        slots = self._settings.clawdet_max_operations
        return hold_slot(self._locks, slots, SLOT_WAIT_S, lambda: self._check(lock))

    @contextmanager
    def _cancellable(self, lock: StackLock) -> Iterator[None]:
        """Whatever an operation fails with after it was asked to end: it was cancelled."""
        try:
            yield
        except StackError as error:
            if isinstance(error, Cancelled) or not self._asked_to_end(lock):
                raise
            raise _cancelled(lock) from error
        finally:
            if self._asked_to_end(lock):
                self._mark(lock.stack).unlink(missing_ok=True)

    def _check(self, lock: StackLock) -> None:
        if self._asked_to_end(lock):
            raise _cancelled(lock)

    def _asked_to_end(self, lock: StackLock) -> bool:
        try:
            return self._mark(lock.stack).read_text() == lock.holder.id
        except FileNotFoundError:
            return False

    def _mark(self, slug: str) -> Path:
        return self._locks / f"{slug}.cancel"


def _cancelled(lock: StackLock) -> Cancelled:
    return Cancelled(
        f"{lock.stack}: {lock.holder.operation} was cancelled",
        f"`python -m stacks up {lock.stack}` goes on from there",
    )


def _end_orphans(previous: Holder, home: Path) -> None:
    """End what a dead holder left: its engine, or the plugins of an engine that was killed.

    Nobody listens to them any more. `home`: the stack's PULUMI_HOME, which they carry along.
    """
    if previous.engine_alive():
        stop_session(previous.engine_pid)
        return
    orphans = []
    for process in session_members(previous.engine_pid) if previous.engine_pid else []:
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PULUMI_HOME") == str(home):
                orphans.append(process)
    kill_all(orphans)
