"""One operation per stack, a bounded number per machine; both survive kill -9 of a holder."""

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import psutil
from pydantic import BaseModel, ValidationError

from stacks.errors import Busy

POLL_S = 0.1
RECORD_LENGTH = 512
PROBE_S = 0.5  # looking at who holds a lock takes it for an instant; that must refuse nobody


class Holder(BaseModel):
    """Who runs an operation on a stack; `id` is the operation's own. Times: since the epoch.

    `engine_pid` and `engine_since` name the engine that it started last, or, before it has
    started one, the one that its dead predecessor may have left.
    """

    id: str
    pid: int
    host: str
    operation: str
    since: float
    engine_pid: int = 0
    engine_since: float = 0.0

    def __str__(self) -> str:
        seconds = max(0, round(time.time() - self.since))
        return f"{self.operation}, process {self.pid} on {self.host}, for {seconds} s"

    def engine_alive(self) -> bool:
        """Whether the very engine process recorded still runs, not one with its number."""
        if not self.engine_pid or self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.engine_pid)
            same = abs(process.create_time() - self.engine_since) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


@dataclass
class StackLock:
    """The lock of one stack, held. `previous`: a holder that died or failed, if there was one.

    `mends`: False for a holder that leaves to the next one what `previous` left.
    """

    stack: str
    file: TextIO
    holder: Holder
    previous: Holder | None
    mends: bool = True

    def engine_started(self, pid: int) -> None:
        """Record the engine's process, so that a successor can tell it from a stranger."""
        self.holder.engine_pid = pid
        try:
            self.holder.engine_since = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:  # already over
            self.holder.engine_pid = 0
        self.write(self.holder.model_dump_json())

    def write(self, text: str) -> None:
        """Replace the file's content in place: the lock belongs to this very inode.

        In one write of one length, so that nobody reads half of it.
        """
        os.pwrite(self.file.fileno(), text.ljust(RECORD_LENGTH).encode(), 0)


@contextmanager
def hold_stack(
    directory: Path, stack: str, operation: str, wait_s: float = 0.0
) -> Iterator[StackLock]:
    """Hold `stack` for one operation. Busy, naming the holder, if it isn't free within `wait_s`.

    The kernel frees the lock when a holder dies; what it wrote then stays as `previous`. A clean
    release empties the file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stack}.lock"
    path.touch()
    with path.open("r+") as file:
        if not _acquire(file, max(wait_s, PROBE_S)):
            raise Busy(
                f"{stack} is busy: {_read(file) or 'another operation'}",
                f"wait for it, or `python -m stacks cancel {stack}`",
            )
        previous = _read(file)
        lock = StackLock(stack, file, _holder(operation, previous), previous)
        lock.write(lock.holder.model_dump_json())
        yield lock
        # Not in a finally: an exception that isn't the operation's own end leaves the record.
        lock.write(previous.model_dump_json() if previous and not lock.mends else "")


def current_holder(directory: Path, stack: str) -> Holder | None:
    """Who holds the stack now, or None."""
    path = directory / f"{stack}.lock"
    if not path.exists():
        return None
    with path.open("r+") as file:
        while not _acquire(file, 0.0):
            if holder := _read(file):
                return holder
            time.sleep(PROBE_S / 100)  # it is held, but its holder has not written yet
    return None


@contextmanager
def hold_slot(
    directory: Path, slots: int, wait_s: float, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold one of this machine's `slots` for operations; Busy if none is free within `wait_s`.

    `while_waiting` is called again and again until there is one; it may raise to give up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    while True:
        for number in range(slots):
            with (directory / f"slot-{number}").open("a") as file:
                if _acquire(file, 0.0):
                    yield
                    return
        while_waiting()
        if time.monotonic() >= deadline:
            raise Busy(
                f"all {slots} operation slots of this machine are taken",
                "wait, or raise CLAWDET_MAX_OPERATIONS if there is memory to spare",
            )
        time.sleep(POLL_S)


def _acquire(file: TextIO, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)


def _read(file: TextIO) -> Holder | None:
    file.seek(0)
    try:
        return Holder.model_validate_json(file.read())
    except ValidationError:  # empty: released cleanly, or not yet written
        return None


def _holder(operation: str, previous: Holder | None) -> Holder:
    host = socket.gethostname()
    holder = Holder(
        id=secrets.token_hex(8), pid=os.getpid(), host=host, operation=operation, since=time.time()
    )
    if previous and previous.host == host:
        # Should we die before we have ended its engine, our own successor must know of it.
        holder.engine_pid, holder.engine_since = previous.engine_pid, previous.engine_since
    return holder
