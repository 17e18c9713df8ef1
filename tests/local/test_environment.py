import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from local.environment import (
    CREDENTIALS,
    OPERATOR,
    HalfGiven,
    environment,
    exports,
    keep,
    own,
    shed,
    wants_sandbox,
)
from sandbox.supervisor import Sandbox
from stacks.settings import Settings
from webapp.settings import REQUIRED, WebSettings

ALL = dict.fromkeys(CREDENTIALS, "given")


def test_without_any_credential_the_sandbox_is_meant() -> None:
    assert wants_sandbox({"PATH": "/bin", "CLAWDET_DOMAIN": "example.com"})
    assert wants_sandbox(dict.fromkeys(CREDENTIALS, ""))


def test_with_every_credential_the_companies_are_meant() -> None:
    assert not wants_sandbox(ALL)


@pytest.mark.parametrize("name", CREDENTIALS)
def test_one_credential_alone_is_refused_with_the_names_of_the_others(name: str) -> None:
    with pytest.raises(HalfGiven) as caught:
        wants_sandbox({name: "given"})
    there, missing = _lists(caught.value)
    assert there == {name}
    assert missing == set(CREDENTIALS) - {name}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_one_credential_missing_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(HalfGiven) as caught:
        wants_sandbox(ALL | {name: ""})
    there, missing = _lists(caught.value)
    assert missing == {name}
    assert there == set(CREDENTIALS) - {name}


def test_a_refusal_does_not_repeat_the_values() -> None:
    with pytest.raises(HalfGiven) as caught:
        wants_sandbox({"STRIPE_SECRET_KEY": "very-secret"})
    assert "very-secret" not in str(caught.value)


def test_credentials_and_our_own_keys_are_all_that_the_web_app_needs() -> None:
    ours = {"CLAWDET_SECRET_KEY", "CLAWDET_ENCRYPTION_KEYS"}
    assert {name.upper() for name in REQUIRED} <= {*CREDENTIALS, *ours}


def test_our_keys_are_made_once_and_are_for_us_alone(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    first = own(folder)
    assert own(folder) == first
    (kept,) = folder.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text()) == first


def test_our_keys_differ_from_place_to_place_and_are_of_use(tmp_path: Path) -> None:
    first, second = own(tmp_path / "a"), own(tmp_path / "b")
    assert not set(first.values()) & set(second.values())
    assert Fernet(first["CLAWDET_ENCRYPTION_KEYS"])
    assert len(bytes.fromhex(first["CLAWDET_SECRET_KEY"])) == 32
    assert len(first["PULUMI_CONFIG_PASSPHRASE"]) >= 32


def test_the_sandbox_is_given_whole(sandbox: Sandbox, tmp_path: Path) -> None:
    given = environment(tmp_path, 8123, sandbox)
    assert sandbox.environment().items() <= given.items()
    assert given["CLAWDET_OPERATORS"] == OPERATOR
    assert given["CLAWDET_WEB_URL"] == "http://localhost:8123"
    assert str(tmp_path) in given["CLAWDET_DATABASE_URL"]


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_nothing_of_the_shell_reaches_the_sandbox(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Callable[[str], str]
) -> None:
    """Settings are read whatever the case of their names."""
    for name in {*Settings.model_fields, *WebSettings.model_fields}:
        monkeypatch.setenv(case(name), "of-the-shell")
    given = environment(tmp_path, 8000, sandbox)
    names = {name.upper() for name in (*Settings.model_fields, *WebSettings.model_fields)}
    assert not {k for k, v in given.items() if k.upper() in names and v == "of-the-shell"}


@pytest.mark.parametrize("shell", [{}, {"PULUMI_CONFIG_PASSPHRASE_FILE": "/nowhere"}])
def test_in_the_sandbox_the_passphrase_is_always_ours(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: Mapping[str, str]
) -> None:
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    given = environment(tmp_path, 8000, sandbox)
    assert given["PULUMI_CONFIG_PASSPHRASE"] == own(tmp_path)["PULUMI_CONFIG_PASSPHRASE"]
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in given


def test_what_is_no_setting_is_handed_on(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert environment(tmp_path, 8000, sandbox)["LANG"] == "C.UTF-8"


def test_with_the_companies_what_the_shell_says_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (ALL | {"CLAWDET_DOMAIN": "example.com"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLAWDET_SECRET_KEY", "mine")
    given = environment(tmp_path, 8000, None)
    assert ALL.items() <= given.items()
    assert given["CLAWDET_DOMAIN"] == "example.com"
    assert given["CLAWDET_SECRET_KEY"] == "mine"
    assert given["CLAWDET_ENCRYPTION_KEYS"] == own(tmp_path)["CLAWDET_ENCRYPTION_KEYS"]
    assert "CLAWDET_OPERATORS" not in given


def test_with_the_companies_a_passphrase_from_a_file_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/somewhere")
    given = environment(tmp_path, 8000, None)
    assert given["PULUMI_CONFIG_PASSPHRASE_FILE"] == "/somewhere"
    assert not given["PULUMI_CONFIG_PASSPHRASE"]


def test_the_sandboxs_stacks_are_kept_apart(sandbox: Sandbox, tmp_path: Path) -> None:
    project = tmp_path / "project"
    given = environment(tmp_path, 8000, sandbox)
    assert given["CLAWDET_PROJECT"] == str(project)
    assert given["PULUMI_BACKEND_URL"] == f"file://{project}/.clawdet/state"


def _lists(error: HalfGiven) -> tuple[set[str], set[str]]:
    """The names that are said to be set, and those that are not."""
    there, _, missing = str(error).partition("; not set: ")
    names = missing.partition(". ")[0]
    return set(there.removeprefix("set: ").split(", ")), set(names.split(", "))


def test_a_shell_that_took_over_an_earlier_run_means_the_sandbox_still(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, environment(tmp_path, 8000, sandbox))
    for name, value in exports(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert not wants_sandbox(os.environ)
    shed(tmp_path)
    assert wants_sandbox(os.environ)
    monkeypatch.setenv("STRIPE_SECRET_KEY", "a real one")
    shed(tmp_path)
    assert os.environ["STRIPE_SECRET_KEY"] == "a real one"


def test_before_the_first_start_the_shell_is_left_as_it_is(tmp_path: Path) -> None:
    before = dict(os.environ)
    shed(tmp_path / "nothing")
    assert dict(os.environ) == before
