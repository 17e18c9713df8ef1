"""What is left of machines when their process ends, in order or not."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from sandbox.machines import MachineSpec, choose
from tests.sandbox.machines.conftest import Ssh, is_refused, unused_port

pytestmark = pytest.mark.machine

OWNER = """
import json, sys, time
from pathlib import Path
from sandbox.machines import MachineSpec, choose
driver = choose(Path(sys.argv[1]), "nspawn", int(sys.argv[2]))
spec = json.loads(sys.argv[3])
driver.create(MachineSpec(**spec | {"ssh_keys": tuple(spec["ssh_keys"])}))
print(driver.address(spec["id"]), flush=True)
time.sleep(600)
"""


def processes(directory: Path) -> list[str]:
    """Command lines of live processes that name the directory, or have something of it mounted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            mounts = (process / "mountinfo").read_text()
        except OSError:  # ended meanwhile
            continue
        mine = int(process.name) == os.getpid()
        if not mine and (str(directory) in command or str(directory) in mounts):
            found.append(command or process.name)
    return found


def loops(directory: Path) -> list[str]:
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return [text for file in files if str(directory) in (text := file.read_text())]


def sandbox_id(directory: Path) -> str:
    return (directory / "network").read_text().strip().removeprefix("127.").replace(".", "-")


def groups(directory: Path) -> list[Path]:
    top = Path("/sys/fs/cgroup")
    name = f"clawdet-{sandbox_id(directory)}"
    return [path for depth in ("", "*/") for path in top.glob(f"{depth}{name}")]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def directory(tmp_path: Path, real_machines_possible: None) -> Iterator[Path]:
    yield tmp_path / "machines"
    driver = choose(tmp_path / "machines", "nspawn", unused_port())
    driver.delete(1)
    driver.close()


def start_owner(directory: Path, spec: MachineSpec) -> tuple["subprocess.Popen[str]", str]:
    """A process that runs one machine, and the machine's address."""
    command = [sys.executable, "-c", OWNER, str(directory), str(unused_port())]
    command.append(json.dumps(asdict(spec)))
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    return owner, owner.stdout.readline().strip()


def test_kill_9_of_the_owner_takes_everything_along_and_the_next_driver_goes_on(
    directory: Path, ssh: Ssh
) -> None:
    owner, address = start_owner(directory, ssh.spec(1, "alice"))
    with owner:
        ssh.run(address, "echo kept > /root/file")
        slirp = [line for line in processes(Path("slirp4netns")) if f"/proc/{owner.pid}/" in line]
        assert len(slirp) == 1
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes(directory) and not loops(directory))
    assert not [line for line in processes(Path("slirp4netns")) if f"/proc/{owner.pid}/" in line]
    assert is_refused(address, 22)
    assert groups(directory)

    driver = choose(directory, "nspawn", unused_port())
    assert not groups(directory)
    assert driver.state(1) == "off"
    assert driver.address(1) == address
    driver.resume()
    assert ssh.run(address, "cat /root/file") == "kept\n"
    driver.close()


def test_a_guest_that_survives_its_owner_is_ended_by_the_next_driver(directory: Path) -> None:
    choose(directory, "nspawn", unused_port()).close()
    group = Path("/sys/fs/cgroup/unified")
    if not group.is_dir():
        group = Path("/sys/fs/cgroup")
    group = group / f"clawdet-{sandbox_id(directory)}" / "1" / "guest"
    group.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as survivor:
        (group / "cgroup.procs").write_text(str(survivor.pid))
        choose(directory, "nspawn", unused_port()).close()
        assert survivor.wait(60) == -signal.SIGKILL
    assert not groups(directory)


def test_any_sandbox_that_starts_removes_what_a_dead_one_left(
    directory: Path, tmp_path: Path, ssh: Ssh
) -> None:
    owner, _ = start_owner(directory, ssh.spec(1, "alice"))
    with owner:
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes(directory))
    choose(tmp_path / "other", "nspawn", unused_port()).close()
    assert not groups(directory)


def test_close_leaves_disks_and_nothing_else_and_a_restart_goes_on(
    directory: Path, ssh: Ssh
) -> None:
    namespaces = subprocess.check_output(["ip", "netns", "list"])
    driver = choose(directory, "nspawn", unused_port())
    driver.create(ssh.spec(1, "alice"))
    address = driver.address(1)
    ssh.run(address, "echo kept > /root/file")
    assert processes(directory)
    assert groups(directory)
    driver.close()
    assert not processes(directory)
    assert not loops(directory)
    assert not groups(directory)
    assert subprocess.check_output(["ip", "netns", "list"]) == namespaces
    assert is_refused(address, 22)

    again = choose(directory, "nspawn", unused_port())
    assert again.state(1) == "off"
    again.resume()
    assert again.state(1) == "running"
    assert ssh.run(address, "cat /root/file") == "kept\n"
    again.close()
