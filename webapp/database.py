"""The database: engine, transactions, column types. SQLite by default, PostgreSQL by URL."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr
from sqlalchemy import DateTime, Dialect, Engine, LargeBinary, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

BUSY_TIMEOUT_S = 20


class Base(DeclarativeBase):
    """Base of all models. Names of constraints are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC. SQLite keeps no zone: what it gives back is UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuses a naive datetime."""
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime without a zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Encrypted(TypeDecorator[str]):
    """Text that is encrypted at rest, with the first of CLAWDET_ENCRYPTION_KEYS; the others are
    old ones, which still decrypt."""

    impl = LargeBinary
    cache_ok = True
    _box: MultiFernet | None = None

    @classmethod
    def use_keys(cls, keys: Sequence[SecretStr]) -> None:
        """Called once, when the application is made."""
        cls._box = MultiFernet([Fernet(key.get_secret_value()) for key in keys])

    @classmethod
    def reads(cls, value: bytes) -> bool:
        """Whether one of the keys decrypts it."""
        try:
            cls._keys().decrypt(value)
        except InvalidToken:
            return False
        return True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """Encrypt."""
        del dialect
        return None if value is None else self._keys().encrypt(value.encode())

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        """Decrypt; a ValueError says that the key is missing."""
        del dialect
        try:
            return None if value is None else self._keys().decrypt(value).decode()
        except InvalidToken as error:
            raise ValueError("CLAWDET_ENCRYPTION_KEYS lacks the key this was kept with") from error

    @classmethod
    def _keys(cls) -> MultiFernet:
        if cls._box is None:
            raise RuntimeError("Encrypted.use_keys was not called")
        return cls._box


class Database:
    """Transactions on one database. `url` as SQLAlchemy takes it."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = Lock() if self.engine.name == "sqlite" else None

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A session in a transaction: committed at the end of the block, rolled back on an error.

        On SQLite it takes the write lock at once, so that no transaction fails half-way.
        """
        with self._turn(), self._sessions.begin() as session:
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """SQLite has one writer at a time, and lets others sleep before they look again. Those of
        this process follow each other at once; who waits too long gets SQLite's own error."""
        mine = self._writing is not None and self._writing.acquire(timeout=BUSY_TIMEOUT_S)
        try:
            yield
        finally:
            if self._writing and mine:
                self._writing.release()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads: no write lock, nothing is kept."""
        with self._sessions() as session:
            session.connection(execution_options={"clawdet_read_only": True})
            yield session
            session.expunge_all()  # what was read stays readable; a rollback would expire it

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def make_engine(url: str) -> Engine:
    """An engine as we want it; SQLite gets WAL, a busy time-out, foreign keys."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    del record
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    reads = connection.get_execution_options().get("clawdet_read_only")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
