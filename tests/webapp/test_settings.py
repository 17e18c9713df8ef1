import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from stacks.settings import CHECKOUT
from webapp.errors import SettingsError
from webapp.settings import REQUIRED, WebSettings

ROW = re.compile(r"^\| `(?P<name>[A-Z_]+)` \|(?P<default>[^|]*)\|", re.MULTILINE)
OURS = (CHECKOUT / "docs/settings.md").read_text().partition("## The web app")[2]
ROWS = {m["name"]: m["default"].strip() for m in ROW.finditer(OURS)}

GIVEN = {name.upper(): "given" for name in REQUIRED} | {
    "CLAWDET_ENCRYPTION_KEYS": Fernet.generate_key().decode()
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything that is needed, and nothing else of ours."""
    for name in WebSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_documented_settings_are_the_settings() -> None:
    assert set(ROWS) == {name.upper() for name in WebSettings.model_fields}


def test_documented_defaults_are_the_defaults() -> None:
    for name, field in WebSettings.model_fields.items():
        if name != "clawdet_database_url":  # depends on where the checkout is
            assert ROWS[name.upper()] == _cell(name, field.default), name


def test_what_is_needed_suffices(environment: pytest.MonkeyPatch) -> None:
    assert WebSettings.read().stripe_price_id == "given"


def test_all_that_is_missing_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    for name in GIVEN:
        environment.delenv(name)
    with pytest.raises(SettingsError) as caught:
        WebSettings.read()
    assert set(re.findall(r"[A-Z_]{5,}", caught.value.title)) == set(GIVEN)


@pytest.mark.parametrize("name", sorted(GIVEN))
@pytest.mark.parametrize("value", [None, ""])
def test_one_that_is_missing_or_empty_is_named_alone(
    environment: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    environment.delenv(name) if value is None else environment.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        WebSettings.read()
    assert set(re.findall(r"[A-Z_]{5,}", caught.value.title)) == {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLAWDET_WEB_URL", "clawdet.com"),
        ("CLAWDET_WEB_URL", "https://clawdet.com/app"),
        ("CLAWDET_ENCRYPTION_KEYS", "too-short"),
        ("CLAWDET_SUPPORT_EMAIL", "help"),
        ("CLAWDET_TRUSTED_PROXIES", "-1"),
        ("CLAWDET_SESSION_DAYS", "0"),
        ("CLAWDET_SESSION_DAYS", "a week"),
        ("CLAWDET_PAST_DUE_DAYS", "-1"),
        ("CLAWDET_TRIAL_MESSAGES", "five"),
        ("CLAWDET_ADAPTER_TIMEOUT_S", "0"),
        ("STRIPE_AUTOMATIC_TAX", "perhaps"),
    ],
)
def test_a_value_that_does_not_parse_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        WebSettings.read()


def test_all_that_does_not_parse_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CLAWDET_SESSION_DAYS", "0")
    environment.setenv("CLAWDET_SWEEP_S", "soon")
    with pytest.raises(SettingsError, match=r"CLAWDET_SESSION_DAYS.*CLAWDET_SWEEP_S"):
        WebSettings.read()


def test_what_does_not_parse_is_not_repeated(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CLAWDET_ENCRYPTION_KEYS", "a-key-with-a-slip")
    with pytest.raises(SettingsError) as caught:
        WebSettings.read()
    assert "a-key-with-a-slip" not in str(caught.value)


def test_lists_are_separated_by_commas_or_blanks(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CLAWDET_OPERATORS", "ann, bob carol")
    assert WebSettings.read().clawdet_operators == ("ann", "bob", "carol")


def test_secrets_never_show_in_the_settings_text(environment: pytest.MonkeyPatch) -> None:
    for name in GIVEN:
        if name != "CLAWDET_ENCRYPTION_KEYS":
            environment.setenv(name, f"value-of-{name}")
    shown = repr(WebSettings.read())
    secret = [name for name in GIVEN if not name.endswith("_ID")]
    assert GIVEN["CLAWDET_ENCRYPTION_KEYS"] not in shown
    assert not [name for name in secret if f"value-of-{name}" in shown]


def test_an_address_without_tls_makes_cookies_that_work_without(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("CLAWDET_WEB_URL", "http://localhost:8000/")
    assert not WebSettings.read().is_https
    assert WebSettings.read().url("/x") == "http://localhost:8000/x"
    environment.setenv("CLAWDET_WEB_URL", "https://clawdet.com")
    assert WebSettings.read().is_https


@pytest.mark.parametrize("module", ["webapp", "webapp.worker"])
def test_neither_process_starts_without_its_settings(module: str, tmp_path: Path) -> None:
    names = {name.upper() for name in WebSettings.model_fields}
    bare = {name: value for name, value in os.environ.items() if name not in names}
    url = f"sqlite:///{tmp_path / 'never.sqlite3'}"
    ended = subprocess.run(
        [sys.executable, "-m", module],
        env=bare | {"CLAWDET_DATABASE_URL": url, "STRIPE_PRICE_ID": "price_1"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: not set: ANTHROPIC_API_KEY, STRIPE_SECRET_KEY, ")
    assert "STRIPE_PRICE_ID" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def _cell(name: str, default: object) -> str:
    """How the table shows a default."""
    if name in REQUIRED:
        return "needed"
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return "" if default in ("", ()) else f"`{default}`"
