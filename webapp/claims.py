"""Which workers are alive: each holds a claim on its name that ends with its process.

SQLite: a file lock beside the database, so that there is one worker. PostgreSQL: an advisory lock
per name, so that there are many, and each can tell that another one is dead.
"""

import fcntl
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import structlog
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from webapp.errors import Conflict

POLL_S = 0.2

log = structlog.get_logger("worker")


class FileClaim:
    """The one worker of an SQLite database."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".worker")
        self._file: TextIO | None = None

    def take(self, wait_s: float) -> None:
        """Take the claim, or raise Conflict when it isn't free within `wait_s`."""
        self._file = self._path.open("a")
        _wait(self._locked, wait_s, f"{self._path} is held.")

    def holds(self) -> bool:
        """Whether the claim is still ours."""
        return self._file is not None

    def take_over(self, name: str, then: Callable[[], None]) -> bool:
        """Call `then` while holding a dead worker's claim; False if the worker lives."""
        del name  # whoever had it before us is dead: there is one claim, and it is ours
        then()
        return True

    def release(self) -> None:
        """Give it up."""
        if self._file:
            self._file.close()
        self._file = None

    def _locked(self) -> bool:
        assert self._file
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class AdvisoryClaim:
    """One of many workers on a PostgreSQL database."""

    def __init__(self, url: str, name: str) -> None:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        self._engine = create_engine(
            parsed, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=_KEEPALIVE
        )
        self._name = name
        self._connection: Connection | None = None

    def take(self, wait_s: float) -> None:
        """Take the claim, or raise Conflict when another process has the name for `wait_s`."""
        connection = self._connection = self._engine.connect()
        _wait(
            lambda: _lock(connection, self._name), wait_s, f"Another one is named {self._name!r}."
        )

    def holds(self) -> bool:
        """Whether the claim is still ours: it is lost with its connection."""
        try:
            return bool(self._connection and self._connection.execute(text("SELECT 1")).scalar())
        except (OperationalError, DBAPIError) as error:
            log.error("claim_lost", worker=self._name, error=type(error).__name__)
            return False

    def take_over(self, name: str, then: Callable[[], None]) -> bool:
        """Call `then` while holding a dead worker's claim; False if the worker lives.

        On a connection of its own: a session may take its own lock again.
        """
        with self._engine.connect() as connection:
            if not _lock(connection, name):
                return False
            then()
        return True

    def release(self) -> None:
        """Give it up."""
        if self._connection:
            self._connection.close()
        self._connection = None
        self._engine.dispose()


Claim = FileClaim | AdvisoryClaim

# Half a minute without an answer and the server gives the claim to whoever asks.
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}


def claim_for(url: str, name: str) -> Claim:
    """The claim of a worker of that name on that database."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return AdvisoryClaim(url, name)
    return FileClaim(Path(parsed.database or "clawdet.sqlite3"))


def _lock(connection: Connection, name: str) -> bool:
    digest = hashlib.sha256(f"clawdet worker {name}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    return bool(
        connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar()
    )


def _wait(free: Callable[[], bool], wait_s: float, why: str) -> None:
    deadline = time.monotonic() + wait_s
    while not free():
        if time.monotonic() >= deadline:
            raise Conflict("Another worker runs.", f"{why} End it, or let it do the work.")
        time.sleep(POLL_S)
