import os
import socket
from pathlib import Path

import pytest

from sandbox.machines import MachineError, choose, requirements
from sandbox.machines.api_only import ApiOnlyMachines


@pytest.fixture
def no_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="auto, nspawn, api-only"):
        choose(tmp_path, "docker", 1)


def test_without_root_real_machines_are_refused_with_the_remedy(
    tmp_path: Path, no_root: None
) -> None:
    with pytest.raises(MachineError, match="as root"):
        choose(tmp_path / "m", "nspawn", 1)


def test_without_root_auto_gives_servers_in_the_api_only_and_says_why(
    tmp_path: Path, no_root: None
) -> None:
    driver = choose(tmp_path / "m", "auto", 1)
    assert isinstance(driver, ApiOnlyMachines)
    assert "as root" in driver.reasons[0]
    driver.close()


def test_a_missing_program_is_named_by_its_package(
    tmp_path: Path, no_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_arguments, **_options: None)
    with pytest.raises(MachineError, match=r"apt-get install .*systemd-container"):
        choose(tmp_path / "m", "nspawn", 1)


@pytest.mark.machine
def test_a_port_that_the_host_uses_itself_is_named(
    tmp_path: Path, real_machines_possible: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as web_server:
        port = web_server.getsockname()[1]
        # Not 443 itself, which the sandboxes of other users of this host need meanwhile.
        monkeypatch.setattr(requirements, "PORTS", (port,))
        with pytest.raises(MachineError, match=f"port {port} can't be used"):
            choose(tmp_path / "m", "nspawn", 1)
