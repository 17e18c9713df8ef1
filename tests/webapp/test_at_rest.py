"""Keys for what is encrypted: a missing one is found at the start, and need not be the end."""

import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import select

from sandbox.supervisor import Sandbox
from stacks.settings import CHECKOUT
from tests.webapp.instances.conftest import alice, live, make_instance
from webapp import at_rest, clock
from webapp.database import Encrypted
from webapp.errors import SettingsError
from webapp.http.context import Clawdet
from webapp.instances.models import Instance
from webapp.mail.models import Letter
from webapp.mail.service import post

__all__ = ["alice", "live", "make_instance"]


def new_key() -> SecretStr:
    return SecretStr(Fernet.generate_key().decode())


def test_an_old_key_behind_a_new_one_still_reads(c: Clawdet, live: Instance) -> None:
    keys = c.settings.clawdet_encryption_keys
    at_rest.check(c.db, keys)
    at_rest.check(c.db, (new_key(), *keys))


def test_a_key_that_is_missing_is_said_with_what_to_do(c: Clawdet, live: Instance) -> None:
    with pytest.raises(SettingsError, match="1 gateway tokens and 0 letters") as stop:
        at_rest.check(c.db, (new_key(),))
    assert "Add it behind the new one" in str(stop.value)


@pytest.mark.parametrize("module", ["webapp.migrate", "webapp.worker"])
def test_nothing_starts_without_a_key_that_is_needed(
    module: str, live: Instance, sandbox: Sandbox, database_url: str
) -> None:
    ours = {
        "CLAWDET_DATABASE_URL": database_url,
        "CLAWDET_SECRET_KEY": "another",
        "CLAWDET_ENCRYPTION_KEYS": new_key().get_secret_value(),
        "PULUMI_CONFIG_PASSPHRASE": "a passphrase",
    }
    ended = subprocess.run(
        [sys.executable, "-m", module],
        env=os.environ | sandbox.environment() | ours,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: CLAWDET_ENCRYPTION_KEYS lacks the key")


def test_what_no_key_reads_can_be_forgotten(c: Clawdet, live: Instance) -> None:
    with c.db.begin() as session:
        for key in ("sent", "waiting"):
            post(session, c.jobs, to="a@example.com", template="live", key=key, link="x")
        sent = session.scalars(select(Letter).where(Letter.key == "sent")).one()
        sent.sent_at = clock.now()
    keys = (new_key(),)

    assert at_rest.forget_unreadable(c.db, keys) == (1, 2)

    at_rest.check(c.db, keys)
    Encrypted.use_keys(keys)
    with c.db.read() as session:
        assert session.get_one(Instance, live.id).gateway_token is None
        assert [one.key for one in session.scalars(select(Letter))] == ["sent"]
    assert at_rest.forget_unreadable(c.db, keys) == (0, 0)
