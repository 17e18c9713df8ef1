"""Processes of the sandbox: who dies with whom, who is still there, who listens where."""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
BACKLOG = 256


class PortInUseError(Exception):
    """Somebody else listens on a port; the message says which and what to do."""


class Identity(BaseModel, frozen=True):
    """A process that can't be mistaken for a later one with the same number.

    `started` is its start in seconds since the epoch, which the kernel knows to 10 ms; clock
    adjustments may shift it a little, so that two seconds of difference still mean the same.
    """

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """The identity of a running process; psutil.NoSuchProcess when there is none."""
        return cls(pid=pid, started=psutil.Process(pid).create_time())

    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 2.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def end(self, grace_s: float) -> None:
        """SIGTERM; after `grace_s` seconds SIGKILL to its whole process group. Waits for the end.

        The process must lead its own group.
        """
        if self.alive() and not self.terminate(grace_s):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait(5.0)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return not self.alive() or wait_readable(descriptor, timeout_s)
        finally:
            os.close(descriptor)

    def terminate(self, grace_s: float) -> bool:
        """SIGTERM; whether the process ended within `grace_s` seconds."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(grace_s)


def wait_readable(descriptor: int, timeout_s: float) -> bool:
    """Whether `descriptor` becomes readable in time (a pidfd does when its process ends)."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def die_with_parent(parent: int) -> None:
    """Have the kernel send us SIGTERM when our parent, process `parent`, ends.

    Exits at once when it has ended already (prctl(2): the signal is not sent then). The kernel
    means the thread that made us: the parent must start us from its main thread.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM)) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(f"process {parent}, which started this one, is gone")


def listen(port: int, option: str) -> socket.socket:
    """A socket that listens on 127.0.0.1:`port` (0: a free one).

    Raises PortInUseError, which names the command line's `option` for choosing another port.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise PortInUseError(
            f"Port {port} on 127.0.0.1 can't be used: {error}. Choose another with {option}, or"
            " leave the option out for a free one."
        ) from error
    return listening


def say_ready(facts: dict[str, Any]) -> None:
    """Tell the supervisor, on standard output, that we serve, and what it should know."""
    print(json.dumps({"ready": facts}), flush=True)


def say_progress(line: str) -> None:
    """Tell the supervisor what we are busy with before we are ready."""
    print(json.dumps({"progress": line}), flush=True)


def say_failed(message: str) -> None:
    """Tell the supervisor why we can't serve, in words for people; then end."""
    print(json.dumps({"failed": message}), flush=True)


def run_module(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and environment that run a module of this checkout, wherever we are."""
    root = str(Path(__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", module, *arguments]
    return command, {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def log_tail(path: Path, lines: int = 15) -> str:
    """The end of a log file, for an error message; empty when there is none."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old content or the new, never a part."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(path)
