"""Runs the Pulumi CLI so that it can be cancelled and never outlives us."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

Sink = Callable[[str], object]

# What the CLI needs from us goes in by name; our own credentials don't.
WITHHELD = ("HETZNER_API_TOKEN", "CLOUDFLARE_API_TOKEN", "ANTHROPIC_API_KEY", "STRIPE_SECRET_KEY")

# By hand: the first SIGINT lets running steps finish and does nothing while a remote command
# runs; a second ends the CLI within 5 s, state saved and lock released.
SECOND_INTERRUPT_S = 10.0
KILL_S = 10.0


class EngineCommand(PulumiCommand):
    """One operation's CLI: in a session of its own, interruptible, dying with its parent.

    The SDK starts the CLI through `run`; `on_start` is told the process id each time.
    """

    def __init__(
        self,
        path: Path,
        version: VersionInfo,
        on_start: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        # Not super().__init__: it runs `pulumi version` each time, which set-up has done.
        self.command = str(path)
        self.version = version
        self.cancelled = threading.Event()
        self.on_start = on_start
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Sink | None = None,
        on_error: Sink | None = None,
        stdin: str | None = None,
    ) -> CommandResult:
        """Run `pulumi ARGS`; raises the SDK's CommandError (its kinds included) on a failure."""
        process = self._start(args, cwd, additional_env, stdin is not None)
        self._process = process
        self.on_start(process.pid)
        if self.cancelled.is_set():  # asked for while the process was starting
            self.interrupt()
        try:
            out, err = _collect(process, on_output, on_error, stdin)
        except KeyboardInterrupt:
            stop_session(process.pid)
            raise
        finally:
            self._process = None
        result = CommandResult(stdout=out, stderr=err, code=process.returncode)
        if process.returncode != 0:
            raise create_command_error(result)
        return result

    def interrupt(self) -> None:
        """Ask the running CLI to stop; insist, then kill its whole session. Returns at once."""
        self.cancelled.set()
        process = self._process
        if process is not None:
            threading.Thread(target=stop_session, args=(process.pid,), daemon=True).start()

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
    """Interrupt the CLI that leads the session, insist, then kill; blocks until it is gone."""
    for patience in (SECOND_INTERRUPT_S, KILL_S):
        with contextlib.suppress(ProcessLookupError):
            os.kill(session, signal.SIGINT)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not session_members(session):
                return
            time.sleep(0.1)
    end_session(session)


def end_session(session: int) -> None:
    """Kill what is left of a session."""
    members = session_members(session)
    for process in members:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(members, timeout=5)


def _dying_with_parent() -> list[str]:
    """A prefix that has the kernel interrupt the CLI when we die (util-linux; Linux only)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "INT", "--"] if setpriv else []


def _collect(
    process: subprocess.Popen[str], on_output: Sink | None, on_error: Sink | None, stdin: str | None
) -> tuple[str, str]:
    chunks: dict[str, list[str]] = {"out": [], "err": []}

    def read(name: str, stream: object, sink: Sink | None) -> None:
        for line in iter(stream.readline, ""):  # type: ignore[attr-defined]
            chunks[name].append(line.rstrip())
            if sink:
                sink(line.rstrip())

    readers = [
        threading.Thread(target=read, args=("out", process.stdout, on_output)),
        threading.Thread(target=read, args=("err", process.stderr, on_error)),
    ]
    for reader in readers:
        reader.start()
    with process:
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        for reader in readers:
            reader.join()
    return "\n".join(chunks["out"]), "\n".join(chunks["err"])
