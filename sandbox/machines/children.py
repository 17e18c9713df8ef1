"""Processes that die with this one, however it dies."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from sandbox.machines.commands import search_path


class Children:
    """Starts processes with a parent-death signal. Thread-safe.

    The kernel sends the signal when the *thread* that started the process ends, so all are
    started by one thread that lives until `close`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="children")

    def start(
        self, command: list[str], log: BinaryIO, pass_fds: tuple[int, ...] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start a process that gets SIGKILL when this one ends; its output goes to `log`."""
        started = self._thread.submit(
            subprocess.Popen,
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,  # the terminal's Ctrl-C is for us, who end them in order
            env={**os.environ, "PATH": search_path()},
        )
        return started.result()

    def close(self) -> None:
        """End the thread, and with it every process that still runs."""
        self._thread.shutdown()
