"""Our settings and the customer's in one OpenClaw configuration.

OpenClaw itself is replaced by a program that refuses one setting; that the real one accepts what we
write is proven on a machine (test_install.py).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cloud_init.documents import INSTALL

PRETEND_OPENCLAW = f"""#!{sys.executable}
import json, os, sys
if "refused" in json.load(open(os.environ["OPENCLAW_CONFIG_PATH"])):
    sys.exit('Config invalid\\nProblem:\\n  - <root>: Unrecognized key: "refused"')
"""


class Home:
    """The gateway user's home directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / ".openclaw" / "openclaw.json"
        self.program = directory / "openclaw"
        self.program.write_text(PRETEND_OPENCLAW)
        self.program.chmod(0o755)

    def configure(
        self, always: dict[str, Any], first: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, INSTALL / "configure_openclaw.py", self.program],
            input=json.dumps({"always": always, "first": first or {}}),
            env={**os.environ, "HOME": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.path.read_text())
        return config

    @config.setter
    def config(self, config: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(config))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_new_assistant_gets_our_settings_and_the_first_ones(home: Home) -> None:
    done = home.configure({"gateway": {"mode": "local"}}, {"plugins": {"allow": ["telegram"]}})
    assert done.returncode == 0, done.stderr
    assert home.config == {"gateway": {"mode": "local"}, "plugins": {"allow": ["telegram"]}}
    assert home.path.stat().st_mode & 0o777 == 0o600


def test_the_customers_changes_stay_and_ours_are_put_back(home: Home) -> None:
    ours = {"gateway": {"auth": {"mode": "token"}}}
    home.configure(ours, {"plugins": {"allow": ["telegram"]}})
    home.config = {
        "gateway": {"auth": {"mode": "none"}, "reload": {"mode": "off"}},
        "plugins": {"allow": ["telegram", "discord"]},
    }
    home.configure(ours, {"plugins": {"allow": ["telegram"]}})
    assert home.config == {
        "gateway": {"auth": {"mode": "token"}, "reload": {"mode": "off"}},
        "plugins": {"allow": ["telegram", "discord"]},
    }


def test_a_setting_we_no_longer_have_goes_unless_the_customer_changed_it(home: Home) -> None:
    home.configure({"a": 1, "models": {"mode": "merge", "url": "x"}, "kept": {"by": "us"}})
    home.config = {**home.config, "kept": {"by": "customer"}}
    home.configure({"a": 1})
    assert home.config == {"a": 1, "kept": {"by": "customer"}}


def test_a_second_run_says_and_changes_nothing(home: Home) -> None:
    home.configure({"a": 1})
    before = home.path.stat().st_mtime_ns, (home.directory / "managed.json").read_text()
    done = home.configure({"a": 1})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert before == (home.path.stat().st_mtime_ns, (home.directory / "managed.json").read_text())


def test_what_the_gateway_runs_from_changes_when_a_setting_was_put_back(home: Home) -> None:
    home.configure({"a": 1})
    before = (home.directory / "managed.json").read_text()
    home.config = {"a": 2}
    home.configure({"a": 1})
    assert (home.directory / "managed.json").read_text() != before


def test_what_openclaw_refuses_is_never_put_in_place(home: Home) -> None:
    home.configure({"a": 1})
    done = home.configure({"a": 1, "refused": True})
    assert done.returncode == 1
    assert done.stderr == 'OpenClaw refuses it: - <root>: Unrecognized key: "refused"\n'
    assert home.config == {"a": 1}


def test_a_configuration_that_is_not_json_is_left_for_a_person(home: Home) -> None:
    home.configure({"a": 1})
    home.path.write_text("{\n oops")
    done = home.configure({"a": 1})
    assert done.returncode == 1
    assert "openclaw.json is not JSON (line 2)" in done.stderr
    assert home.path.read_text() == "{\n oops"
