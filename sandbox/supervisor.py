"""Starts the sandbox's processes, keeps watch over them, and ends them all.

`Supervisor` is the process behind `python -m sandbox serve`; `Sandbox` starts that process from a
program or a test.
"""

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from sandbox import running
from sandbox.clouds.world import Credentials
from sandbox.downloads import artifacts
from sandbox.downloads.recipe import ArtifactError
from sandbox.keeping import SandboxError, end_leftovers, only_one, open_ports, remember
from sandbox.processes import Identity, log_tail, run_module
from sandbox.running import Running, Server

# The first start on a computer may build the machines' base image (minutes).
CLOUDS_READY_S = 900.0
EDGE_READY_S = 30.0
CLOUDS_END_S = 30.0
EDGE_END_S = 5.0
STOP_S = CLOUDS_END_S + EDGE_END_S + 5.0
EDGE_RESTARTS = 5
EDGE_RESTARTS_WITHIN_S = 60.0


class _Stopped(Exception):
    """Somebody asked us to end."""


@dataclass(frozen=True)
class Options:
    """How to serve. Port 0: the one of last time, or any free one.

    `machines`: "auto", "nspawn" or "api-only". `action_seconds`: how long a cloud action takes
    at least. `parent`: end when this process ends.
    """

    directory: Path
    clouds_port: int = 0
    edge_port: int = 0
    machines: str = "auto"
    action_seconds: float = 0.0
    parent: int | None = None


@dataclass(frozen=True)
class _Child:
    """A process of ours, in its own process group; `pidfd` becomes readable when it ends."""

    name: str
    process: "subprocess.Popen[bytes]"
    identity: Identity
    pidfd: int
    log: Path

    def end(self, grace_s: float) -> None:
        self.identity.end(grace_s)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        os.close(self.pidfd)


class Supervisor:
    """One run of `serve`. `tell` gets a line for each thing that people should know."""

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        self._options = options
        self._directory = options.directory.resolve()
        self._tell = tell
        self._children: dict[str, _Child] = {}
        self._wake, self._waker = socket.socketpair()
        self._stop_asked = False
        self._parent_fd: int | None = None

    def run(self, on_ready: Callable[[Running], None]) -> None:
        """Serve until SIGINT, SIGTERM, SIGHUP or the parent's end; raises SandboxError.

        Call it from the main thread: it handles signals, and the kernel ties the children's life
        to the thread that starts them. Afterwards nothing of the sandbox runs.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as cleanup:
            cleanup.enter_context(only_one(self._directory))
            cleanup.enter_context(self._signals())
            end_leftovers(self._directory, self._tell)
            ports = open_ports(self._directory, self._options.clouds_port, self._options.edge_port)
            sockets = [cleanup.enter_context(listening) for listening in ports]
            cleanup.callback(self._end_children)
            cleanup.callback(running.forget, self._directory)
            try:
                on_ready(self._start(*sockets))
                self._watch(sockets[1])
            except _Stopped:
                self._tell("Stopping.")

    def _start(self, clouds_socket: socket.socket, edge_socket: socket.socket) -> Running:
        self._write_release()
        # Before the children, who would each make their own at the same time.
        Credentials.load_or_make(self._directory / "credentials.json")
        self._clouds_port = clouds_socket.getsockname()[1]
        clouds = self._spawn(
            "clouds",
            clouds_socket,
            "--machines",
            self._options.machines,
            "--action-seconds",
            str(self._options.action_seconds),
        )
        edge = self._spawn_edge(edge_socket)
        facts = self._await_ready(clouds, CLOUDS_READY_S)
        self._await_ready(edge, EDGE_READY_S)
        found = Running(
            directory=self._directory,
            supervisor=Identity.of(os.getpid()),
            clouds=Server(port=self._clouds_port, process=clouds.identity),
            edge=Server(port=edge_socket.getsockname()[1], process=edge.identity),
            **facts,
        )
        found.save()
        return found

    def _spawn_edge(self, listening: socket.socket) -> _Child:
        url = f"http://127.0.0.1:{self._clouds_port}"
        return self._spawn("edge", listening, "--clouds-url", url)

    def _write_release(self) -> None:
        """Machines download from us what has been made; without it the product has its default."""
        (self._directory / running.RELEASE_FILE).unlink(missing_ok=True)
        try:
            artifacts.write_release(self._directory, f"{running.GUEST_GATEWAY}/downloads")
        except ArtifactError as error:
            if self._options.machines != "api-only":
                self._tell(f"No release for machines: {error}")

    def _spawn(self, name: str, listening: socket.socket, *arguments: str) -> _Child:
        log = self._directory / f"{name}.log"
        common = ["--dir", str(self._directory), "--domain", Running.model_fields["domain"].default]
        command, environment = run_module(
            f"sandbox.{name}",
            *common,
            *("--fd", str(listening.fileno()), "--parent", str(os.getpid())),
            *arguments,
        )
        with log.open("ab") as log_file:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log_file,
                bufsize=0,
                pass_fds=[listening.fileno()],
                start_new_session=True,  # Ctrl-C is for us, who end them in order
            )
        identity = Identity.of(process.pid)
        child = _Child(name, process, identity, os.pidfd_open(process.pid), log)
        self._children[name] = child
        remember(self._directory, [kept.identity for kept in self._children.values()])
        return child

    def _await_ready(self, child: _Child, timeout_s: float) -> dict[str, Any]:
        """What the child says of itself once it serves."""
        output = child.process.stdout
        assert output is not None  # _spawn asks for a pipe
        deadline = time.monotonic() + timeout_s
        while True:
            if output.fileno() not in self._wait([output.fileno()], deadline - time.monotonic()):
                message = f"The {child.name} process was not ready within {timeout_s:.0f} s."
                raise SandboxError(_with_log(message, child.log))
            line = output.readline()
            if not line:
                message = f"The {child.name} process ended before it was ready."
                raise SandboxError(_with_log(message, child.log))
            said = json.loads(line)
            if "ready" in said:
                ready: dict[str, Any] = said["ready"]
                return ready
            if "failed" in said:
                raise SandboxError(said["failed"])
            self._tell(said["progress"])

    def _watch(self, edge_socket: socket.socket) -> None:
        """Until we are stopped: restart an edge that died; without the clouds, give up."""
        restarts: list[float] = []
        while True:
            clouds, edge = self._children["clouds"], self._children["edge"]
            ended = self._wait([clouds.pidfd, edge.pidfd], None)
            if clouds.pidfd in ended:
                message = "The clouds process ended by itself. Start the sandbox again."
                raise SandboxError(_with_log(message, clouds.log))
            now = time.monotonic()
            restarts = [when for when in restarts if now - when < EDGE_RESTARTS_WITHIN_S] + [now]
            if len(restarts) > EDGE_RESTARTS:
                raise SandboxError(_with_log("The edge keeps ending by itself.", edge.log))
            self._tell(f"The edge ended by itself; starting it again (see {edge.log}).")
            edge.end(0)
            again = self._spawn_edge(edge_socket)
            self._await_ready(again, EDGE_READY_S)
            self._save_edge(again.identity)

    def _save_edge(self, identity: Identity) -> None:
        found = running.find(self._directory)
        if found is not None:
            server = Server(port=found.edge.port, process=identity)
            found.model_copy(update={"edge": server}).save()

    def _wait(self, descriptors: list[int], timeout_s: float | None) -> set[int]:
        """Which descriptors are readable; none at a time-out. Raises _Stopped when asked to end."""
        poller = select.poll()
        extra = [] if self._parent_fd is None else [self._parent_fd]
        for descriptor in [self._wake.fileno(), *extra, *descriptors]:
            poller.register(descriptor, select.POLLIN)
        timeout_ms = None if timeout_s is None else max(0.0, timeout_s * 1000)
        readable = {descriptor for descriptor, _ in poller.poll(timeout_ms)}
        if self._stop_asked or self._wake.fileno() in readable or readable & set(extra):
            raise _Stopped
        return readable & set(descriptors)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals and the parent's end wake `_wait`."""
        if self._options.parent is not None:
            try:
                self._parent_fd = os.pidfd_open(self._options.parent)
            except ProcessLookupError:
                self._stop_asked = True
        before = {
            number: signal.signal(number, self._ask_to_stop)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        # Written to by the interpreter itself: a signal just before `poll` wakes that, too.
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._parent_fd is not None:
                os.close(self._parent_fd)
            self._wake.close()
            self._waker.close()

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stop_asked = True

    def _end_children(self) -> None:
        """The edge first: visitors are refused rather than shown what is being torn down."""
        for name, grace_s in (("edge", EDGE_END_S), ("clouds", CLOUDS_END_S)):
            child = self._children.pop(name, None)
            if child is not None:
                child.end(grace_s)
        remember(self._directory, [])


def _with_log(message: str, log: Path) -> str:
    return f"{message} The end of {log}:\n{log_tail(log)}"


class Sandbox:
    """A sandbox in a process of its own, for programs and tests; ends with `stop`, at the end of
    a `with` block, or with this process, however that ends."""

    def __init__(self, process: "subprocess.Popen[bytes]", found: Running) -> None:
        self._process = process
        self.running = found

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        clouds_port: int = 0,
        edge_port: int = 0,
        machines: str = "auto",
        action_seconds: float = 0.0,
        timeout_s: float = CLOUDS_READY_S,
    ) -> "Sandbox":
        """Start a sandbox in `directory` and wait until it serves; raises SandboxError."""
        directory = directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / "serve.log"
        command, environment = run_module(
            "sandbox",
            *("serve", "--dir", str(directory), "--parent", str(os.getpid())),
            *("--clouds-port", str(clouds_port), "--edge-port", str(edge_port)),
            *("--machines", machines, "--action-seconds", str(action_seconds)),
        )
        with log.open("wb") as log_file:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            return cls(process, _await_running(process, directory, timeout_s))
        except BaseException:
            _end(process)
            raise

    @property
    def admin_url(self) -> str:
        """Where faults are injected and the clouds' contents are read."""
        return self.running.admin_url

    @property
    def edge_port(self) -> int:
        """The edge's port on 127.0.0.1."""
        return self.running.edge.port

    def environment(self) -> dict[str, str]:
        """What the product needs to use this sandbox (see `Running.environment`)."""
        return self.running.environment()

    def stop(self) -> None:
        """End it; nothing of it runs afterwards. Its state stays in the directory."""
        _end(self._process)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _await_running(
    process: "subprocess.Popen[bytes]", directory: Path, timeout_s: float
) -> Running:
    log = directory / "serve.log"
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = running.find(directory)
        if found is not None and found.supervisor.pid == process.pid:
            return found
        if process.poll() is not None:
            raise SandboxError(_with_log("The sandbox did not start.", log))
        time.sleep(0.02)
    raise SandboxError(_with_log(f"The sandbox was not ready within {timeout_s:.0f} s.", log))


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
