"""A machine's life, seen through SSH and its public address."""

import re
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.machines import MachineError, Machines
from tests.sandbox.machines.conftest import Ssh, is_refused, wait_for_banner

pytestmark = pytest.mark.machine


PATIENCE_S = 120  # what a loaded machine may take; nothing waits that long when all is well


def wait_for_state(machines: Machines, id_: int, state: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while machines.state(id_) != state:
        assert time.monotonic() < deadline, f"still {machines.state(id_)}"
        time.sleep(0.05)


def test_a_new_server_has_its_name_key_limits_and_the_host_key_from_its_user_data(
    machines: Machines, ssh: Ssh
) -> None:
    address = machines.address(1)
    assert is_refused(address, 22)
    machines.create(ssh.spec(1, "alice"))
    assert ssh.run(address, "cloud-init status --wait").strip(".\n") == "status: done"
    assert ssh.run(address, "hostname").strip() == "alice"
    assert ssh.run(address, "systemctl --failed --no-legend") == ""
    size_gb = int(ssh.run(address, "df --output=size -B1G / | tail -1"))
    assert 9 <= size_gb <= 10
    with pytest.raises(ConnectionResetError):  # switched on, but nobody serves the web yet
        read_from(address, 80)


def read_from(address: str, port: int) -> bytes:
    with socket.create_connection((address, port), timeout=10) as connection:
        return connection.recv(1)


def test_a_client_that_expects_another_host_key_refuses_the_server(
    machines: Machines, ssh: Ssh
) -> None:
    machines.create(replace(ssh.spec(1, "alice"), user_data=""))
    wait_for_banner(machines.address(1))
    refusal = ssh.try_run(machines.address(1), "true")
    assert refusal.returncode == 255
    assert "Host key verification failed" in refusal.stderr


def test_power_off_refuses_connections_and_power_on_brings_the_disk_back(
    machines: Machines, ssh: Ssh
) -> None:
    address = machines.address(1)
    machines.create(ssh.spec(1, "alice"))
    ssh.run(address, "echo kept > /root/file; sync")
    machines.power_off(1)
    assert machines.state(1) == "off"
    assert all(is_refused(address, port) for port in (22, 80, 443))
    machines.power_off(1)
    machines.power_on(1)
    assert machines.state(1) == "running"
    assert ssh.run(address, "cat /root/file") == "kept\n"


def test_the_guests_own_power_off_and_reboot_are_seen(machines: Machines, ssh: Ssh) -> None:
    address = machines.address(1)
    machines.create(ssh.spec(1, "alice"))
    ssh.run(address, "cloud-init status --wait")  # a request amid the boot waits for its jobs
    started = "cut -d' ' -f22 /proc/1/stat"
    first = ssh.run(address, started)
    ssh.try_run(address, "systemctl reboot")
    deadline = time.monotonic() + PATIENCE_S
    while ssh.try_run(address, started).stdout in (first, ""):
        assert time.monotonic() < deadline
    assert machines.state(1) == "running"
    ssh.try_run(address, "systemctl poweroff")
    wait_for_state(machines, 1, "off")
    assert is_refused(address, 22)


def test_reboot_and_shutdown_ask_the_guest(machines: Machines, ssh: Ssh) -> None:
    address = machines.address(1)
    machines.create(ssh.spec(1, "alice"))
    ssh.run(address, "cloud-init status --wait")
    unit = (
        "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\n"
        "ExecStart=/bin/true\\nExecStop=/bin/sh -c 'echo bye >> /root/asked'\\n"
    )
    ssh.run(address, f'printf "{unit}" > /etc/systemd/system/t.service; systemctl start t')
    machines.reboot(1)
    assert ssh.run(address, "cat /root/asked; systemctl start t") == "bye\n"
    machines.shutdown(1)
    assert machines.state(1) == "off"
    machines.power_on(1)
    assert ssh.run(address, "cat /root/asked") == "bye\nbye\n"


def test_a_guest_that_ignores_the_request_is_switched_off_after_the_grace(
    machines: Machines, ssh: Ssh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.machines.nspawn.GRACE_S", 2.0)
    machines.create(ssh.spec(1, "alice"))
    ssh.run(machines.address(1), "systemctl mask --runtime poweroff.target")
    started = time.monotonic()
    machines.shutdown(1)
    assert machines.state(1) == "off"
    assert 2 <= time.monotonic() - started < 60  # systemd would wait 90 s


def test_a_server_made_from_a_snapshot_has_its_disk_and_an_identity_of_its_own(
    machines: Machines, ssh: Ssh
) -> None:
    machines.create(ssh.spec(1, "alice"))
    ssh.run(machines.address(1), "cloud-init status --wait; echo gold > /root/file; rm /etc/motd")
    size_gb = machines.snapshot(1, "gold")
    assert 0 < size_gb < 1
    assert machines.snapshot(1, "gold") == size_gb
    assert ssh.run(machines.address(1), "cat /root/file") == "gold\n"
    ssh.run(machines.address(1), "echo later > /root/file")

    machines.create(ssh.spec(2, "bob", image="gold"))
    machines.delete_image("gold")
    seen = ssh.run(machines.address(2), "cloud-init status --wait >/dev/null; hostname")
    assert seen == "bob\n"
    assert ssh.run(machines.address(2), "cat /root/file; ls /etc/motd 2>&1 || true") == (
        "gold\nls: cannot access '/etc/motd': No such file or directory\n"
    )
    machines.delete(1)
    machines.reboot(2)
    assert ssh.run(machines.address(2), "cat /root/file") == "gold\n"
    with pytest.raises(MachineError, match="no image 'gold'"):
        machines.create(ssh.spec(3, "carol", image="gold"))


def test_rebuild_throws_the_disk_away_and_keeps_the_seed(machines: Machines, ssh: Ssh) -> None:
    machines.create(ssh.spec(1, "alice"))
    ssh.run(machines.address(1), "echo old > /root/file")
    machines.rebuild(1, "base")
    assert ssh.run(machines.address(1), "ls /root; hostname") == "alice\n"


def test_resize_grows_the_disk_and_the_memory_limit_at_the_next_power_on(
    machines: Machines, ssh: Ssh
) -> None:
    machines.create(replace(ssh.spec(1, "alice"), memory_mb=512))
    hog = "python3 -c 'x = b\"x\" * (700 << 20); print(len(x) >> 20)'"
    wait_for_banner(machines.address(1))
    assert ssh.try_run(machines.address(1), hog).returncode != 0  # killed for want of memory
    machines.shutdown(1)
    machines.resize(1, cores=2, memory_mb=2048, disk_gb=20)
    machines.power_on(1)
    assert ssh.run(machines.address(1), hog) == "700\n"
    size_gb = int(ssh.run(machines.address(1), "df --output=size -B1G / | tail -1"))
    assert 18 <= size_gb <= 20


def test_a_full_disk_is_the_servers_own_problem(machines: Machines, ssh: Ssh) -> None:
    machines.create(replace(ssh.spec(1, "alice"), disk_gb=1))
    result = ssh.run(machines.address(1), "fallocate -l 2G /root/big 2>&1 || true")
    assert "No space left on device" in result


def test_a_deleted_server_is_unknown_and_its_files_are_gone(
    machines: Machines, ssh: Ssh, tmp_path: Path
) -> None:
    machines.create(ssh.spec(1, "alice"))
    address = machines.address(1)
    assert (tmp_path / "machines" / "servers" / "1").exists()
    machines.delete(1)
    assert machines.state(1) is None
    assert not (tmp_path / "machines" / "servers" / "1").exists()
    assert is_refused(address, 22)
    with pytest.raises(MachineError, match=re.escape("no machine 1")):
        machines.power_on(1)
    machines.delete(1)
