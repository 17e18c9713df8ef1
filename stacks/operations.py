"""The operations on an instance's stack: the only code that runs the Pulumi engine."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pulumi.automation import errors as sdk

from stacks import engine as engines
from stacks import failures, recovery, release, spec
from stacks.clouds import Clouds
from stacks.command import stop_session
from stacks.engine import Engine
from stacks.errors import Busy, Cancelled, NeedsApproval, NoCapacity, OperationFailed, StackError
from stacks.events import SERVER_TYPE, STACK_TYPE, Change, Progress, Recorder
from stacks.fetching import cache_dir
from stacks.locks import Holder, StackLock, current_holder, hold_slot, hold_stack
from stacks.project import EngineStack, ProjectStack
from stacks.settings import CHECKOUT, Settings

OnProgress = Callable[[Progress], None]
SLOT_WAIT_S = 3600.0  # an operation queues for memory; an install takes minutes
CANCEL_S = 45.0  # two interrupts and a kill (stacks.command), with a margin

DANGEROUS = {"create", "replace", "create-replacement", "delete-replaced", "delete"}


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
class _Operation:
    """One operation under way: its stack, its lock, and what it has to say."""

    stack: ProjectStack
    lock: StackLock
    on_progress: OnProgress
    began: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)

    def result(self, recorder: Recorder) -> Result:
        operation = self.lock.holder.operation
        looked = operation in ("drift", "refresh")
        changes = recorder.drift if looked else recorder.changes
        return Result(
            self.stack.name,
            operation,
            tuple(c for c in changes if c.type != STACK_TYPE),
            dict(Counter(c.op for c in changes)) if looked else recorder.counts,
            recorder.outputs,
            time.monotonic() - self.began,
            tuple(self.notes),
        )


class Stacks:
    """Every operation, for any number of stacks at once from any number of threads.

    One operation per stack at a time (`wait_s`: how long another one is waited for, else Busy);
    across stacks as many as `settings.clawdet_max_operations`, over all processes of the project.
    `debug_providers`: provider servers to share (stacks.provider_servers), "" to let each engine
    start its own.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine | None = None,
        debug_providers: str = "",
        wait_s: float = 0.0,
    ) -> None:
        settings.passphrase()  # missing? then say so before anything is begun
        self.settings = settings
        self._engine = engine or _installed_engine()
        self._debug_providers = debug_providers or settings.pulumi_debug_providers
        self._wait_s = wait_s
        self._clouds = Clouds(settings)
        self._running: dict[str, ProjectStack] = {}
        self._running_lock = threading.Lock()

    # -- configuration ---------------------------------------------------------------------

    def init(self, slug: str, install: bool = True) -> None:
        """Make a stack with keys, tokens and configuration of its own. Creates nothing yet."""
        spec.check_slug(slug)
        config = spec.new_config(self.settings, slug, self._archive() if install else None)
        with self._operation(slug, "init") as operation:
            operation.stack.create()
            operation.stack.write_config(config)

    def configure(self, slug: str, install: bool = True) -> None:
        """Renew credentials, endpoints and release from today's settings; keys are kept."""
        with self._operation(slug, "configure") as operation:
            old = operation.stack.read_config()
            archive = self._archive() if install else None
            operation.stack.write_config(spec.renewed_config(self.settings, old, archive))

    def names(self) -> list[str]:
        """Every stack that has a settings file, sorted."""
        files = (self.settings.state_dir / "stacks").glob("Pulumi.*.yaml")
        return sorted(f.name.removeprefix("Pulumi.").removesuffix(".yaml") for f in files)

    def secrets(self, slug: str) -> spec.Secrets:
        """The instance's secrets in the clear, for those who must show or use them."""
        return self._stack(slug).read_config().secrets

    # -- reading ---------------------------------------------------------------------------

    def preview(
        self, slug: str, refresh: bool = False, on_progress: OnProgress = lambda _: None
    ) -> Result:
        """What `up` would do; writes nothing."""
        with self._operation(slug, "preview", on_progress) as operation:
            return operation.result(self._preview(operation, refresh))

    def drift(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """How the clouds differ from the state, property by property; writes nothing."""
        with self._operation(slug, "drift", on_progress) as operation:
            return operation.result(
                self._run(
                    operation,
                    lambda stack, on_event: stack.preview_refresh(
                        on_event=on_event, run_program=True, color="never"
                    ),
                )
            )

    def outputs(self, slug: str) -> dict[str, Any]:
        """The stack's outputs as last applied; {} before the first `up`."""
        found = recovery.find_resource(self._stack(slug).deployment(), STACK_TYPE)
        return dict((found or {}).get("outputs") or {})

    def history(self, slug: str) -> list[dict[str, Any]]:
        """Past updates, newest first, as the engine keeps them."""
        return list(json.loads(self._stack(slug).run("stack", "history", "--json").stdout))

    def export(self, slug: str) -> dict[str, Any]:
        """The state as a document that `import_` takes; secrets stay encrypted."""
        return self._stack(slug).export()

    def holder(self, slug: str) -> Holder | None:
        """Who runs an operation on the stack now."""
        return current_holder(self._locks, slug)

    # -- changing --------------------------------------------------------------------------

    def up(
        self,
        slug: str,
        refresh: bool = False,
        approve_server_change: bool = False,
        on_progress: OnProgress = lambda _: None,
    ) -> Result:
        """Make the world as the program says. `refresh`: look at the clouds first (repair).

        Raises NeedsApproval, before anything is written, when a server that should be running
        would be replaced, deleted or made anew, unless `approve_server_change`.
        """
        with self._operation(slug, "up", on_progress) as operation:
            self._recover(operation)
            expected = operation.stack.plain_value("serverId")
            if not approve_server_change:
                _guard(operation.stack.name, expected, self._preview(operation, refresh))
            recorder = self._up_where_there_is_stock(operation, refresh, bool(expected))
            self._after_up(operation, recorder)
            return operation.result(recorder)

    def refresh(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """Write into the state what the clouds have."""
        with self._operation(slug, "refresh", on_progress) as operation:
            self._recover(operation)
            return operation.result(
                self._run(
                    operation,
                    lambda stack, on_event: stack.refresh(
                        on_event=on_event, run_program=True, color="never"
                    ),
                )
            )

    def destroy(self, slug: str, on_progress: OnProgress = lambda _: None) -> Result:
        """Remove everything the stack made; returns when the clouds say that it is gone."""
        with self._operation(slug, "destroy", on_progress) as operation:
            self._recover(operation)
            recorder = self._run(
                operation,
                lambda stack, on_event: stack.destroy(
                    on_event=on_event, run_program=True, color="never"
                ),
            )
            left = self._clouds.leftovers(slug)
            if left:
                names = ", ".join(f"{item.kind} {item.id}" for item in left)
                raise OperationFailed(
                    f"destroyed, yet the clouds still have {names}",
                    f"run `python -m stacks destroy {slug}` again",
                )
            operation.stack.write_plain({"serverId": ""})
            return operation.result(recorder)

    def remove(self, slug: str) -> None:
        """Forget a destroyed stack: state, history, settings file."""
        with self._operation(slug, "remove") as operation:
            operation.stack.remove()

    def import_(self, slug: str, document: dict[str, Any]) -> None:
        """Replace the state by an exported one."""
        with self._operation(slug, "import") as operation:
            operation.stack.import_(document)

    def cancel(self, slug: str) -> str:
        """Interrupt the stack's operation, wait for its end, and leave a clean stack.

        Returns what was done, in words. Raises Busy if the operation runs on another host.
        """
        holder = self.holder(slug)
        if holder is None:
            self._clean_up(slug)
            return "nothing was running; the stack is clean"
        if holder.host != socket.gethostname():
            raise Busy(f"{slug}: {holder}", f"cancel it there: on {holder.host}")
        self._stop(slug, holder)
        self._clean_up(slug)
        return f"cancelled: {holder}"

    # -- the engine ------------------------------------------------------------------------

    def _preview(self, operation: _Operation, refresh: bool) -> Recorder:
        return self._run(
            operation,
            lambda stack, on_event: stack.preview(
                on_event=on_event, refresh=refresh, color="never"
            ),
            quiet=operation.lock.holder.operation != "preview",
        )

    def _up_where_there_is_stock(
        self, operation: _Operation, refresh: bool, has_server: bool
    ) -> Recorder:
        def up(stack: EngineStack, on_event: Callable[[Any], None]) -> object:
            return stack.up(on_event=on_event, refresh=refresh, color="never")

        in_state = recovery.find_resource(operation.stack.deployment(), SERVER_TYPE)
        if in_state or has_server:
            return self._run(operation, up)
        wanted = self.settings.clawdet_locations
        locations = self._clouds.locations_in_stock(self.settings.clawdet_server_type, wanted)
        for location in locations:
            operation.stack.write_plain({"location": location})
            try:
                return self._run(operation, up)
            except NoCapacity:
                operation.notes.append(f"{location} ran out of stock")
        raise NoCapacity(
            f"no location had a server: {', '.join(operation.notes)}",
            f"try again later (`python -m stacks up {operation.stack.name}`), "
            "or add locations to CLAWDET_LOCATIONS",
        )

    def _after_up(self, operation: _Operation, recorder: Recorder) -> None:
        server = recovery.find_resource(operation.stack.deployment(), SERVER_TYPE)
        if server is None:
            return
        operation.stack.write_plain({"serverId": server["id"]})
        resized = any(
            change.type == SERVER_TYPE and any(p.path == "serverType" for p in change.properties)
            for change in recorder.changes
        )
        if resized:  # the provider leaves a resized server switched off
            self._clouds.power_on(server["id"])
            operation.notes.append("switched the resized server on again")

    def _run(
        self,
        operation: _Operation,
        call: Callable[[EngineStack, Callable[[Any], None]], object],
        quiet: bool = False,
    ) -> Recorder:
        """Run the engine once; a dead holder's lock in the backend is lifted, once."""
        stack = operation.stack
        for attempt in (1, 2):
            recorder = Recorder() if quiet else Recorder(operation.on_progress)
            try:
                call(stack.automation(), recorder.on_event)
                return recorder
            except sdk.ConcurrentUpdateError as error:
                if attempt == 2 or not _holder_is_dead(error):
                    raise Busy(
                        f"{stack.name} is locked by another engine: {_owner_words(error)}",
                        "wait for it, or end that process and try again",
                    ) from error
                stack.run("cancel", "--yes")
                operation.notes.append("lifted the lock of an operation whose process is dead")
            except sdk.CommandError as error:
                if stack.command.cancelled.is_set() or self._cancel_mark(stack.name).exists():
                    raise Cancelled(
                        f"{stack.name}: {operation.lock.holder.operation} was cancelled",
                        f"`python -m stacks up {stack.name}` goes on from there",
                    ) from error
                raise failures.translate(error, recorder, stack.name) from error
        raise AssertionError("unreachable")

    # -- one operation at a time -----------------------------------------------------------

    @contextmanager
    def _operation(
        self, slug: str, name: str, on_progress: OnProgress = lambda _: None
    ) -> Iterator[_Operation]:
        spec.check_slug(slug)
        slots = self.settings.clawdet_max_operations
        with (
            hold_stack(self._locks, slug, name, self._wait_s) as lock,
            hold_slot(self._locks, slots, SLOT_WAIT_S),
        ):
            self._cancel_mark(slug).unlink(missing_ok=True)
            _end_orphan(lock.previous)
            stack = self._stack(slug)
            stack.command.on_start = lock.engine_started
            with self._running_lock:
                self._running[slug] = stack
            try:
                yield _Operation(stack, lock, on_progress)
            finally:
                with self._running_lock:
                    self._running.pop(slug, None)

    def _recover(self, operation: _Operation) -> None:
        unclean = operation.lock.previous is not None
        if recovery.needs_recovery(operation.stack.deployment(), unclean):
            operation.notes += recovery.recover(operation.stack, self._clouds)

    def _clean_up(self, slug: str) -> None:
        """Lift what a dead operation left: the backend's lock, pending operations, orphans."""
        with self._operation(slug, "cancel") as operation:
            operation.stack.run("cancel", "--yes")
            operation.notes += recovery.recover(operation.stack, self._clouds)

    def _stop(self, slug: str, holder: Holder) -> None:
        with self._running_lock:
            ours = self._running.get(slug)
        if ours is not None:
            ours.command.interrupt()
        else:
            self._cancel_mark(slug).touch()
            if holder.engine_alive():
                stop_session(holder.engine_pid)
        deadline = time.monotonic() + CANCEL_S
        while (now := self.holder(slug)) is not None and now.pid == holder.pid:
            if time.monotonic() > deadline:
                raise Busy(
                    f"{slug} does not stop: {now}", f"end process {now.pid}, then cancel again"
                )
            time.sleep(0.1)

    @property
    def _locks(self) -> Path:
        return self.settings.state_dir / "locks"

    def _cancel_mark(self, slug: str) -> Path:
        return self._locks / f"{slug}.cancel"

    def _stack(self, slug: str) -> ProjectStack:
        return ProjectStack(
            self.settings, self._engine, spec.check_slug(slug), self._debug_providers
        )

    def _archive(self) -> release.InstallArchive:
        return release.pack_install(
            CHECKOUT / "cloud-init" / "install", self.settings.state_dir / "artifacts"
        )


def _installed_engine() -> Engine:
    found = engines.find(cache_dir())
    if found is None:
        raise StackError("there is no Pulumi engine on this machine", "run `make setup`")
    return found


def _guard(name: str, expected: Any, recorder: Recorder) -> None:
    """Stop before a server that should be running is replaced, deleted or made anew."""
    threats = [c for c in recorder.changes if c.type == SERVER_TYPE and c.op in DANGEROUS]
    if not threats or not expected:
        return
    words = {"create": "made anew (it is gone)", "delete": "deleted"}
    fate = words.get(threats[0].op, "replaced")
    because = ", ".join(p.path for p in threats[0].properties)
    raise NeedsApproval(
        f"the server of {name} ({expected}) would be {fate}"
        + (f" because of {because}" if because else ""),
        f"look at `python -m stacks preview {name} --refresh`; if that is meant: "
        f"python -m stacks up {name} --refresh --approve-server-change {name}",
    )


def _end_orphan(previous: Holder | None) -> None:
    """End the engine of a holder that died: its driver is gone, nobody listens to it."""
    if previous and previous.host == socket.gethostname() and previous.engine_alive():
        stop_session(previous.engine_pid)


def _holder_is_dead(error: sdk.ConcurrentUpdateError) -> bool:
    owner = failures.lock_owner(error)
    if owner is None or owner[0] != socket.gethostname():
        return False
    try:
        return "pulumi" not in psutil.Process(owner[1]).name()  # the number may be another's now
    except psutil.NoSuchProcess:
        return True


def _owner_words(error: sdk.ConcurrentUpdateError) -> str:
    owner = failures.lock_owner(error)
    return f"process {owner[1]} on {owner[0]}" if owner else "unknown"
