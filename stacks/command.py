"""Runs the Pulumi CLI so that it can be cancelled, never outlives us, and no dead lock stops it."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import psutil
from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation import errors as sdk
from semver import VersionInfo

from stacks import backend_lock
from stacks.errors import Busy

Sink = Callable[[str], object]

# What the CLI needs from us goes in by name; our own credentials don't.
WITHHELD = ("HETZNER_API_TOKEN", "CLOUDFLARE_API_TOKEN", "ANTHROPIC_API_KEY", "STRIPE_SECRET_KEY")

# By hand: the first SIGINT lets running steps finish and does nothing while a remote command
# runs; a second ends the CLI within 5 s, state saved and lock released.
SECOND_INTERRUPT_S = 10.0
KILL_S = 10.0
LOOK_S = 1.0

LIFTED = "lifted the lock of an engine whose process is dead"


class EngineCommand(PulumiCommand):
    """One operation's CLI on one stack: in a session of its own, dying with its parent.

    The SDK starts the CLI through `run`. Each time `before_start` is asked first (it raises to
    keep it from starting), `on_start` is told the process id, and `on_note` what was done about
    a dead engine's lock.
    """

    def __init__(self, path: Path, version: VersionInfo, stack: str) -> None:
        # Not super().__init__: it runs `pulumi version` each time, which set-up has done.
        self.command = str(path)
        self.version = version
        self.before_start: Callable[[], None] = lambda: None
        self.on_start: Callable[[int], None] = lambda _pid: None
        self.on_note: Callable[[str], None] = lambda _text: None
        self._stack = stack

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Sink | None = None,
        on_error: Sink | None = None,
        stdin: str | None = None,
    ) -> CommandResult:
        """Run `pulumi ARGS`; raises the SDK's CommandError (its kinds included) on a failure.

        A lock in the backend is lifted, once, if all who hold one are proved dead; else Busy.
        """
        for last in (False, True):
            try:
                return self._run(args, cwd, additional_env, on_output, on_error, stdin)
            except sdk.ConcurrentUpdateError as error:
                found = backend_lock.owners(error)
                if last or not found or not all(owner.dead() for owner in found):
                    who = ", ".join(map(str, found)) or "somebody"
                    raise Busy(
                        f"{self._stack} is locked by another engine: {who}",
                        "wait for it, or end that process and try again",
                    ) from error
            self._run(["cancel", "--yes", "--stack", self._stack], cwd, additional_env)
            self.on_note(LIFTED)
        raise AssertionError("unreachable: the last try returns or raises")

    def _run(
        self,
        args: list[str],
        cwd: str,
        extra: Mapping[str, str],
        on_output: Sink | None = None,
        on_error: Sink | None = None,
        stdin: str | None = None,
    ) -> CommandResult:
        self.before_start()
        process = self._start(args, cwd, extra, stdin is not None)
        self.on_start(process.pid)
        out, err = _collect(process, on_output, on_error, stdin)
        result = CommandResult(stdout=out, stderr=err, code=process.returncode)
        if process.returncode != 0:
            kill_all(session_members(process.pid))  # plugins of a CLI that was killed, say
            raise sdk.create_command_error(result)
        return result

    def _start(
        self, args: list[str], cwd: str, extra: Mapping[str, str], with_stdin: bool
    ) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k not in WITHHELD}
        environment |= dict(extra) | {"PULUMI_AUTOMATION_API": "true"}
        environment["PATH"] = os.pathsep.join(
            [str(Path(self.command).parent), environment.get("PATH", os.defpath)]
        )
        return subprocess.Popen(
            [*_dying_with_parent(), self.command, "--non-interactive", *args],
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )


def session_members(session: int) -> list[psutil.Process]:
    """Every living process of a session (the CLI and the plugins that it started)."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def stop_session(session: int) -> None:
    """Interrupt the CLI that leads the session, insist, then kill; blocks until it is gone.

    What it started ends with it, or is killed then.
    """
    for patience in (SECOND_INTERRUPT_S, KILL_S):
        for leader in _leader(session):
            _send(leader, signal.SIGINT)
        deadline = time.monotonic() + patience
        while _leader(session) and time.monotonic() < deadline:
            time.sleep(0.1)
    kill_all(session_members(session))


def _leader(session: int) -> list[psutil.Process]:
    """The session's leader, if it lives."""
    return [process for process in session_members(session) if process.pid == session]


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill processes and wait for their end."""
    for process in processes:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=5)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _dying_with_parent() -> list[str]:
    """A prefix that has the kernel interrupt the CLI when we die (util-linux; Linux only)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "INT", "--"] if setpriv else []


def _collect(
    process: subprocess.Popen[str], on_output: Sink | None, on_error: Sink | None, stdin: str | None
) -> tuple[str, str]:
    chunks: dict[str, list[str]] = {"out": [], "err": []}
    ended: SimpleQueue[str] = SimpleQueue()

    def read(name: str, stream: IO[str], sink: Sink | None) -> None:
        try:
            for line in iter(stream.readline, ""):
                chunks[name].append(line.rstrip())
                if sink:
                    sink(line.rstrip())
        finally:
            ended.put(name)

    assert process.stdout and process.stderr  # as started
    readers = [
        threading.Thread(target=read, args=("out", process.stdout, on_output)),
        threading.Thread(target=read, args=("err", process.stderr, on_error)),
    ]
    for reader in readers:
        reader.start()
    with process:
        try:
            try:
                if stdin is not None:
                    _feed(process, stdin)
                for _ in readers:
                    _await(ended)
            except KeyboardInterrupt:
                stop_session(process.pid)  # a second Ctrl-C may come before it begins
                raise
        except KeyboardInterrupt:  # no more patience, if anything is left to lose it with
            kill_all(session_members(process.pid))
            raise
        finally:
            for reader in readers:  # before what they read is closed
                reader.join()
    return "\n".join(chunks["out"]), "\n".join(chunks["err"])


def _await(ended: "SimpleQueue[str]") -> str:
    """What comes next. Not `join`, which an interrupt leaves in doubt whether the thread lives,
    and not for ever: a signal that comes just as a thread lies down doesn't wake it."""
    while True:
        with contextlib.suppress(Empty):
            return ended.get(timeout=LOOK_S)


def _feed(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    # A CLI that ends before it has read everything says why in its error.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(text)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
