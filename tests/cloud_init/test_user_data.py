"""What a server is told at its first boot."""

import string
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from tests.cloud_init.documents import CLOUD_INIT, KeyPair, make_ssh_key


@pytest.fixture
def keys() -> tuple[KeyPair, KeyPair]:
    return make_ssh_key(), make_ssh_key()


@pytest.fixture
def user_data(keys: tuple[KeyPair, KeyPair]) -> dict[str, Any]:
    login, host = keys
    template = string.Template((CLOUD_INIT / "user-data.yaml").read_text())
    text = template.substitute(
        hostname="alice",
        ssh_public_key=login.public,
        host_private_key=host.private.strip().replace("\n", "\n    "),
        host_public_key=host.public,
    )
    assert text.startswith("#cloud-config\n")
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_the_server_gets_the_host_key_we_made_and_no_other(
    user_data: dict[str, Any], keys: tuple[KeyPair, KeyPair]
) -> None:
    private = user_data["ssh_keys"]["ed25519_private"]
    load_ssh_private_key(private.encode(), password=None)
    assert private == keys[1].private
    assert user_data["ssh_keys"]["ed25519_public"] == keys[1].public
    assert user_data["ssh_deletekeys"] is True


def test_root_may_log_in_with_our_key_and_nobody_with_a_password(
    user_data: dict[str, Any], keys: tuple[KeyPair, KeyPair]
) -> None:
    assert user_data["users"] == [{"name": "root", "ssh_authorized_keys": [keys[0].public]}]
    assert user_data["disable_root"] is False
    assert user_data["ssh_pwauth"] is False
    assert ["usermod", "--password", "*", "root"] in user_data["runcmd"]


def test_the_firewall_lets_ssh_in_before_it_goes_up(user_data: dict[str, Any]) -> None:
    commands = user_data["runcmd"]
    enabled = commands.index(["ufw", "--force", "enable"])
    for port in (22, 80, 443):
        assert commands.index(["ufw", "allow", f"{port}/tcp"]) < enabled


def test_the_server_knows_its_own_name(user_data: dict[str, Any]) -> None:
    assert user_data["hostname"] == "alice"
    assert user_data["manage_etc_hosts"] is True
