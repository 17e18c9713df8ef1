"""The clouds' memory: JSON documents by kind and id in one SQLite file, kept over a restart."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Document = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class Store:
    """Documents by (kind, id). Every method is safe to call from any thread.

    `transaction()` makes several calls one: they are committed together or not at all, and no
    other thread sees or changes anything in between.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Autocommit mode: transaction() alone says BEGIN and COMMIT.
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        self._lock = threading.RLock()
        self._depth = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit on leaving, roll back on an exception; may be nested (the outermost decides)."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def get(self, kind: str, id_: str | int) -> Document | None:
        """The document, or None."""
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM documents WHERE kind = ? AND id = ?", (kind, str(id_))
            ).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, kind: str, id_: str | int, body: Document) -> None:
        """Create or replace a document."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO documents VALUES (?, ?, ?)"
                " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                (kind, str(id_), json.dumps(body)),
            )

    def delete(self, kind: str, id_: str | int) -> bool:
        """Delete a document; whether it existed."""
        with self.transaction():
            cursor = self._db.execute(
                "DELETE FROM documents WHERE kind = ? AND id = ?", (kind, str(id_))
            )
        return cursor.rowcount > 0

    def all(self, kind: str) -> list[Document]:
        """Every document of a kind, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT body FROM documents WHERE kind = ? ORDER BY rowid", (kind,)
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def next_id(self, name: str, first: int = 1000) -> int:
        """The next number of a counter that never repeats, restarts included."""
        with self.transaction():
            row = self._db.execute(
                "INSERT INTO counters VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (name, first),
            ).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Close the file; the store can't be used afterwards."""
        with self._lock:
            self._db.close()
