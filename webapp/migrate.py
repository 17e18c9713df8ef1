"""Bringing a database to the models' shape: `python -m webapp.migrate`.

Then it sees that the keys fit what is kept. With a word behind it: `check` compares the database
with the models, `revision MESSAGE` writes a migration, `forget-unreadable` is for a lost key.
"""

import sys
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from webapp import at_rest
from webapp.database import Database
from webapp.errors import SettingsError
from webapp.models import Base
from webapp.settings import WebSettings

USAGE = "check | revision MESSAGE | forget-unreadable"
FOLDER = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Apply every migration that the database does not have yet."""
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def differences(engine: Engine) -> list[object]:
    """What the models have and the database has not, or the other way round."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_object": is_ours, "compare_type": True, "render_as_batch": True},
        )
        return list(compare_metadata(context, Base.metadata))


def is_ours(thing: object, name: str | None, kind: str, *_: object) -> bool:
    """Whether a table is one of the models'; the job queue keeps its own beside them."""
    del thing
    return kind != "table" or name in Base.metadata.tables


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config


def main(arguments: list[str]) -> int:
    """Upgrade, or one of the other commands; the exit code."""
    try:
        # Before serving everything must be set; to work on the models, a database is enough.
        whole = arguments in ([], ["forget-unreadable"])
        settings = WebSettings.read() if whole else WebSettings()
        db = Database(settings.clawdet_database_url)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments[:1] == ["revision"]:
        with db.engine.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.revision(config, " ".join(arguments[1:]), autogenerate=True)
        return 0
    if arguments == ["check"]:
        found = differences(db.engine)
        print("\n".join(map(str, found)) or "The database has the models' shape.")
        return 1 if found else 0
    if arguments == ["forget-unreadable"]:
        tokens, letters = at_rest.forget_unreadable(db, settings.clawdet_encryption_keys)
        print(f"Forgot {tokens} gateway tokens (apply brings them back) and {letters} letters.")
        return 0
    if arguments:
        print(f"usage: python -m webapp.migrate [{USAGE}]", file=sys.stderr)
        return 2
    upgrade(db.engine)
    try:
        at_rest.check(db, settings.clawdet_encryption_keys)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("The database is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
