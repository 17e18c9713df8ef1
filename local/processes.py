"""The web and the worker process: started, watched, restarted, ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests

from sandbox.processes import log_tail

READY_S = 120.0
END_S = 30.0
RESTARTS = 5
RESTARTS_WITHIN_S = 60.0


class NotReady(Exception):
    """A process ended or did not answer in time; the message has the end of its log."""


@dataclass
class Child:
    """`python -m MODULE …` with its log; ends with us, however we end (on Linux)."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start it, with its output in the log."""
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*tied, sys.executable, *self.arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who end it in order
            )
        self.starts.append(time.monotonic())

    def revive(self) -> bool:
        """Start it again if it has ended; whether it had. NotReady if it keeps ending."""
        if self.process is None or self.process.poll() is None:
            return False
        recent = [at for at in self.starts if time.monotonic() - at < RESTARTS_WITHIN_S]
        if len(recent) > RESTARTS:
            raise NotReady(f"{self.name} keeps ending by itself:\n{self.tail()}")
        self.start()
        return True

    def end(self) -> None:
        """SIGTERM, then, after a while, SIGKILL to all it has started. Waits for the end."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def tail(self) -> str:
        """The end of its log."""
        return log_tail(self.log)


def await_web(web: Child, port: int) -> None:
    """Return when the web process answers; NotReady otherwise."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if web.process and web.process.poll() is not None:
            raise NotReady(f"{web.name} ended:\n{web.tail()}")
        with contextlib.suppress(requests.ConnectionError), requests.Session() as session:
            session.trust_env = False
            if session.get(f"http://127.0.0.1:{port}/healthz", timeout=10).ok:
                return
        time.sleep(0.1)
    raise NotReady(f"{web.name} was not ready within {READY_S:.0f} s:\n{web.tail()}")
