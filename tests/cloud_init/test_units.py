"""The two systemd units."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cloud_init.documents import INSTALL

UNITS = sorted((INSTALL / "units").glob("*.service"))


class _Unit(configparser.RawConfigParser):
    """A unit file; a key that is given twice keeps its last value."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False)
        self.read_string(path.read_text())

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    # The program is on the servers, not here.
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_as_its_own_user_with_next_to_no_rights(path: Path) -> None:
    unit = _Unit(path)
    service = unit["Service"]
    assert service["User"] not in ("root", "")
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["SystemCallFilter"] == "@system-service"
    assert service["CapabilityBoundingSet"] in ("", "CAP_NET_BIND_SERVICE")
    assert service["UMask"] == "0077"
    assert re.fullmatch(r"\d+M", service["MemoryMax"])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_restarted_for_ever_and_skipped_without_its_secrets(path: Path) -> None:
    unit = _Unit(path)
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Unit"]["ConditionPathExists"].startswith("/etc/")
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_the_gateway_listens_on_loopback_and_stops_for_a_migration() -> None:
    service = _Unit(INSTALL / "units" / "openclaw-gateway.service")["Service"]
    assert service["ExecStart"].endswith("gateway run --port 18789 --bind loopback")
    assert service["RestartPreventExitStatus"] == "78"
    assert "MemoryDenyWriteExecute" not in service
