import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from stacks.settings import CHECKOUT
from tests.webapp.test_settings import GIVEN
from webapp.accounts.models import User
from webapp.database import make_engine
from webapp.jobs import Jobs
from webapp.migrate import FOLDER, differences, upgrade
from webapp.models import Base

BACKENDS = ["sqlite", "postgresql"]
OURS = {*Base.metadata.tables, "alembic_version"}


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    server = request.getfixturevalue("postgres_server")
    admin = create_engine(
        make_url(f"{server}/postgres").set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE empty"))
    yield f"{server}/empty"
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE empty WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_url)
    yield engine
    engine.dispose()


def test_an_empty_database_gets_the_models_shape(engine: Engine) -> None:
    upgrade(engine)
    assert differences(engine) == []
    assert set(inspect(engine).get_table_names()) == OURS


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(engine: Engine) -> None:
    upgrade(engine)
    with Session(engine) as session, session.begin():
        session.add(User(id="usr_1", x_username="alice", x_name="Alice"))
    upgrade(engine)
    with Session(engine) as session:
        assert session.get_one(User, "usr_1").x_name == "Alice"


def test_the_way_back_leads_to_nothing_and_forth_again(engine: Engine) -> None:
    upgrade(engine)
    _downgrade(engine)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(engine)
    assert differences(engine) == []


@pytest.mark.parametrize("order", ["queue first", "models first"])
def test_the_job_queues_tables_beside_ours_are_left_alone(engine: Engine, order: str) -> None:
    if order == "models first":
        upgrade(engine)
    Jobs(_url(engine)).close()
    theirs = _all_tables(engine) - OURS
    upgrade(engine)
    assert theirs
    assert differences(engine) == []
    _downgrade(engine)
    assert _all_tables(engine) == theirs | {"alembic_version"}


def test_a_shape_that_is_not_the_models_is_told(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN email")
    assert "email" in str(differences(engine))


def test_the_command_upgrades_and_checks(engine: Engine, empty_url: str) -> None:
    unchecked = _run(empty_url, "check")
    assert unchecked.returncode == 1
    assert "users" in unchecked.stdout
    assert _run(empty_url).stdout == "The database is up to date.\n"
    checked = _run(empty_url, "check")
    assert (checked.returncode, checked.stdout) == (0, "The database has the models' shape.\n")


def test_the_command_upgrades_nothing_before_all_settings_are_there(tmp_path: Path) -> None:
    path = tmp_path / "never.sqlite3"
    ended = _run(f"sqlite:///{path}", STRIPE_PRICE_ID="")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: not set: STRIPE_PRICE_ID. ")
    assert not path.exists()


def test_a_wrong_word_to_the_command_shows_its_usage(tmp_path: Path) -> None:
    ended = _run(f"sqlite:///{tmp_path / 'untouched.sqlite3'}", "downgrade")
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: ")


def test_the_command_says_what_was_forgotten(empty_database: Path, tmp_path: Path) -> None:
    path = shutil.copy(empty_database, tmp_path / "forgetful.sqlite3")
    ended = _run(f"sqlite:///{path}", "forget-unreadable")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Forgot 0 gateway tokens")


def _run(url: str, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "webapp.migrate", *words],
        env=os.environ | GIVEN | {"CLAWDET_DATABASE_URL": url} | more,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def _downgrade(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")


def _all_tables(engine: Engine) -> set[str]:
    """Of every schema but the database's own."""
    inspector = inspect(engine)
    schemas = [name for name in inspector.get_schema_names() if name != "information_schema"]
    return {table for schema in schemas for table in inspector.get_table_names(schema=schema)}


def _url(engine: Engine) -> str:
    url = engine.url
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
