"""The application against the sandbox's companies, each test with a database of its own."""

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, select, text

from sandbox.supervisor import Sandbox
from tests.webapp import postgres
from tests.webapp.working import (  # noqa: F401  (fixtures)
    orchestrator,
    pulumi_engine,
    pulumi_home,
    shared_plugins,
    stack_settings,
    work,
)
from webapp.accounts.models import User
from webapp.app import create_app
from webapp.database import Database, Encrypted, make_engine
from webapp.http import logs
from webapp.http.context import EXTENSION, Clawdet
from webapp.http.limits import limiter
from webapp.migrate import upgrade
from webapp.settings import WebSettings

Letters = Callable[[], list[dict[str, Any]]]
SignInAs = Callable[..., User]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The companies; servers exist in the API only."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox"), machines="api-only") as running:
        yield running


@pytest.fixture(scope="session")
def keys() -> dict[str, str]:
    """What is ours to make: the key that signs and the one that encrypts."""
    return {
        "clawdet_secret_key": secrets.token_hex(32),
        "clawdet_encryption_keys": Fernet.generate_key().decode(),
    }


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite3"
    migrated = make_engine(f"sqlite:///{path}")
    upgrade(migrated)
    with migrated.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    migrated.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL; its URL without a database."""
    # Not below pytest's folder: every pytest that starts closes that to other users.
    with (
        tempfile.TemporaryDirectory(prefix="clawdet-postgres-") as folder,
        postgres.server(Path(folder)) as url,
    ):
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A migrated PostgreSQL database of the test's own."""
    name = f"test_{secrets.token_hex(6)}"
    admin = create_engine(
        f"{postgres_server}/postgres".replace("postgresql:", "postgresql+psycopg:"),
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = f"{postgres_server}/{name}"
    migrated = make_engine(url)
    upgrade(migrated)
    migrated.dispose()
    yield url
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def database_url(empty_database: Path, tmp_path: Path) -> str:
    """SQLite; a test that wants PostgreSQL overrides this by `postgres_url`."""
    path = tmp_path / "clawdet.sqlite3"
    shutil.copy(empty_database, path)
    return f"sqlite:///{path}"


@pytest.fixture
def settings(
    sandbox: Sandbox, database_url: str, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> WebSettings:
    """The sandbox's environment and ours; nothing of the shell that runs the tests."""
    for name in WebSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    given = {name.lower(): value for name, value in sandbox.environment().items()}
    known = {name: value for name, value in given.items() if name in WebSettings.model_fields}
    return WebSettings(
        **known,  # type: ignore[arg-type]
        **keys,  # type: ignore[arg-type]
        clawdet_database_url=database_url,
        clawdet_web_url="http://localhost:8000",
        clawdet_sign_in_limit="1000 per minute",
        clawdet_trial_limit="1000 per minute",
    )


@pytest.fixture
def outside(sandbox: Sandbox) -> Iterator[requests.Session]:
    """The sandbox as the test itself uses it, whole before and after: no fault, no letter."""
    with requests.Session() as session:
        _whole(session, sandbox)
        yield session
        _whole(session, sandbox)


def _whole(session: requests.Session, sandbox: Sandbox) -> None:
    session.delete(f"{sandbox.admin_url}/faults", timeout=60)
    session.delete(f"{sandbox.running.mail_url}api/letters", timeout=60)


@pytest.fixture
def app(settings: WebSettings, outside: requests.Session) -> Iterator[Flask]:
    """The whole application."""
    logs.configure()
    app = create_app(settings)
    app.testing = False  # errors become answers, as for everybody
    app.config["WTF_CSRF_ENABLED"] = True
    with app.app_context():
        limiter.reset()
    yield app
    context: Clawdet = app.extensions[EXTENSION]
    context.jobs.close()
    context.db.close()


@pytest.fixture
def c(app: Flask) -> Clawdet:
    """What jobs are given."""
    found: Clawdet = app.extensions[EXTENSION]
    return found


@pytest.fixture
def db(c: Clawdet) -> Database:
    return c.db


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without JavaScript."""
    return app.test_client()


@pytest.fixture
def letters(sandbox: Sandbox, outside: requests.Session) -> Letters:
    """What the mail sink has received, newest first."""

    def read() -> list[dict[str, Any]]:
        answer = outside.get(f"{sandbox.running.mail_url}api/letters", timeout=60)
        found: list[dict[str, Any]] = answer.json()["letters"]
        return found

    return read


@pytest.fixture
def sign_in(outside: requests.Session, db: Database) -> SignInAs:
    """Sign a client in the way people do: to X, authorize, and back."""

    def sign_in(client: FlaskClient, username: str = "alice", name: str = "") -> User:
        away = client.get("/api/auth/x/login")
        assert away.status_code in (302, 303), away.text
        consent = outside.post(
            away.headers["Location"],
            data={"username": username, "name": name or username, "decision": "authorize"},
            allow_redirects=False,
            timeout=60,
        )
        back = consent.headers["Location"].partition("localhost:8000")[2]
        assert client.get(back).status_code == 200
        with db.read() as session:
            user = session.scalar(select(User).where(User.x_username == username))
        assert user
        return user

    return sign_in


def csrf(client: FlaskClient, page: str = "/") -> str:
    """The token that a page's forms carry."""
    found = re.search(
        r'name="csrf[_-]token" (?:type="hidden" )?(?:content|value)="([^"]+)"',
        client.get(page).text,
    )
    assert found, f"{page} has no CSRF token"
    return found.group(1)


@pytest.fixture(autouse=True)
def keys_of_the_test(keys: dict[str, str]) -> None:
    """Rows are encrypted with the session's key even where no application is made."""
    settings = WebSettings(**keys)  # type: ignore[arg-type]
    Encrypted.use_keys(settings.clawdet_encryption_keys)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is reached directly, whatever the shell says."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
