"""The main job as a person runs it, and what is left when it is cut short."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.machines import requirements
from stacks.settings import CHECKOUT

BIRTH = "watch the server being born"

pytestmark = [pytest.mark.machine, pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def real_machines() -> None:
    if problems := requirements.problems():
        pytest.skip("no real machines here: " + "; ".join(problems))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "demo"
    yield folder
    assert not processes_of(folder)


def start(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "demo", "--dir", str(folder)],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that name the folder, work in it, or are given it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            given = process.environ().get("CLAWDET_DATABASE_URL", "")
            if str(folder) in words + given or process.cwd().startswith(str(folder)):
                found.append(words)
        except (psutil.Error, OSError):
            continue
    return found


def mounts_of(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(folder) in line]


def groups_of(folder: Path) -> list[Path]:
    """Control groups of the machines at the addresses that the demo's sandbox has claimed."""
    (remembered,) = folder.rglob("network")
    _, a, b = remembered.read_text().strip().split(".")
    return list(Path("/sys/fs/cgroup").glob(f"**/clawdet-{a}-{b}"))


def read_until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if words in line:
            return
    pytest.fail(f"the demo ended before it said {words!r}")


def wait_for_machine(folder: Path) -> None:
    """Return when the customer's server is being installed."""
    deadline = time.monotonic() + 120
    while not any(folder.glob("sandbox/machines/servers/*")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(5)  # into the install


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 120
    while processes_of(folder):
        assert time.monotonic() < deadline, processes_of(folder)
        time.sleep(0.1)


def test_a_folder_with_other_things_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "letters").write_text("dear")
    with start(folder) as process:
        assert process.stdout
        said = process.stdout.read()
    assert process.returncode == 1
    assert "letters" in said
    assert (folder / "letters").read_text() == "dear"


def test_the_whole_life_of_a_server_holds(folder: Path) -> None:
    with start(folder) as process:
        assert process.stdout
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert "Every check held." in said
    assert "stops at the guard" in said
    assert not mounts_of(folder)


def test_ctrl_c_during_the_install_leaves_nothing_behind(folder: Path) -> None:
    with start(folder) as process:
        read_until(process, BIRTH)
        wait_for_machine(folder)
        groups = groups_of(folder)
        process.send_signal(signal.SIGINT)
        assert process.stdout
        said = process.stdout.read()
    assert process.returncode == 130, said
    wait_until_gone(folder)
    assert not mounts_of(folder)
    assert groups
    assert not any(group.exists() for group in groups)


def test_kill_9_during_the_install_ends_everything_and_the_next_run_starts_afresh(
    folder: Path,
) -> None:
    with start(folder) as process:
        read_until(process, BIRTH)
        wait_for_machine(folder)
        process.kill()
        assert process.stdout
        process.stdout.read()
    wait_until_gone(folder)
    assert not mounts_of(folder)
    with start(folder) as again:
        read_until(again, "sign in with X")
        again.send_signal(signal.SIGINT)
        assert again.stdout
        again.stdout.read()
    assert again.returncode == 130
    wait_until_gone(folder)
