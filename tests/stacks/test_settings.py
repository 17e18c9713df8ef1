import re
from pathlib import Path

import pytest

from stacks.errors import UsageError
from stacks.settings import CHECKOUT, Settings, operations_that_fit

ROW = re.compile(r"^\| `(?P<name>[A-Z_]+)` \| (?P<default>.*?) \|", re.MULTILINE)
OURS = (CHECKOUT / "docs/settings.md").read_text().partition("## The web app")[0]


def test_the_documented_settings_are_the_settings() -> None:
    documented = {m["name"] for m in ROW.finditer(OURS)}
    assert documented == {name.upper() for name in Settings.model_fields}


def test_documented_defaults_are_the_defaults() -> None:
    rows = {m["name"]: m["default"] for m in ROW.finditer(OURS)}
    for name in (
        "hetzner_endpoint",
        "cloudflare_base_url",
        "clawdet_domain",
        "clawdet_server_type",
    ):
        assert rows[name.upper()] == f"`{Settings.model_fields[name].default}`"


def test_locations_are_a_list_by_commas_or_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAWDET_LOCATIONS", "fsn1, nbg1 hel1")
    assert Settings.read().clawdet_locations == ("fsn1", "nbg1", "hel1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLAWDET_MAX_OPERATIONS", "none"),
        ("CLAWDET_MAX_OPERATIONS", "0"),
        ("CLAWDET_CLOUD_TIMEOUT_S", "-1"),
    ],
)
def test_a_value_that_does_not_parse_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=name):
        Settings.read()


def test_the_passphrase_may_come_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passphrase"
    file.write_text("from a file\n")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(file))
    assert Settings.read().passphrase() == "from a file"


def test_a_missing_passphrase_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    with pytest.raises(UsageError, match="PULUMI_CONFIG_PASSPHRASE") as caught:
        Settings.read().passphrase()
    assert "python -m stacks env" in caught.value.remedy


def test_credentials_never_show_in_the_settings_text() -> None:
    settings = Settings.model_validate({"hetzner_api_token": "very-secret-token"})
    assert "very-secret-token" not in repr(settings)


def test_operations_at_once_are_bounded_by_memory() -> None:
    assert 1 <= operations_that_fit() <= 16
