"""Where the engine and the plugins come from: `python -m stacks setup` on machines of all kinds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stacks import engine
from tests.stacks.bare_machine import CHECKOUT, Machine, alive, internet, versions

INSTALLER = """#!/bin/sh
while [ "$1" != --install-root ]; do shift; done
mkdir -p "$2/bin"
printf '%s\\n' '#!/bin/sh' 'echo v3.253.0' >"$2/bin/pulumi"
echo host >"$2/bin/pulumi-language-python"
chmod +x "$2/bin/pulumi"
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def setup(machine: Machine, **env: str) -> "subprocess.CompletedProcess[str]":
    return machine.run("setup", "--fallback", machine.stand_ins(), **env)


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_a_fitting_pulumi_on_the_path_is_used_and_nothing_is_built(machine: Machine) -> None:
    machine.add_pulumi("v3.260.1")
    machine.add_go()
    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["pulumi", "3.260.1", "path"]
    assert machine.count("builds") == 0


@pytest.mark.parametrize("version", ["v3.252.9", "v4.0.0", "v3.253.0-alpha.1", "no idea"])
def test_an_unfit_pulumi_on_the_path_is_named_and_not_used(machine: Machine, version: str) -> None:
    machine.add_pulumi(version)
    machine.add_go()
    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert f"{machine.bin}/pulumi" in done.stderr
    assert "not used" in done.stderr
    assert done.stdout.split()[:3] == ["pulumi", "3.253.0", "built"]


def test_without_internet_go_builds_it_once_and_the_next_checkout_finds_it(
    machine: Machine,
) -> None:
    machine.add_go()
    first = setup(machine)
    assert "can't be had" in first.stderr
    assert "building it with go" in first.stderr
    again = setup(machine)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert machine.count("builds") == 1
    assert machine.leftovers() == []


def test_another_go_builds_anew_and_no_go_takes_what_is_there(machine: Machine) -> None:
    machine.add_go("go1.26.8")
    setup(machine)
    machine.add_go("go1.27.0")
    setup(machine)
    assert machine.count("builds") == 2
    (machine.bin / "go").unlink()
    assert setup(machine).returncode == 0


def test_no_go_and_no_internet_end_in_one_error_that_says_what_to_do(machine: Machine) -> None:
    started = time.monotonic()
    done = setup(machine)
    assert done.returncode == 1
    assert "No Pulumi engine" in done.stderr
    assert "Install Pulumi 3.253.0 or newer, or Go" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 40


def test_a_go_without_its_module_proxy_is_told_so(machine: Machine) -> None:
    machine.add_go(behaviour='echo "Get x: dial tcp: lookup proxy: no such host" >&2; exit 1')
    done = setup(machine)
    assert done.returncode == 1
    assert "could not download" in done.stderr
    assert "GOPROXY" in done.stderr


def test_a_build_that_fails_says_why_and_leaves_nothing(machine: Machine) -> None:
    machine.add_go(behaviour='echo "main.go:1: oh no"; exit 2')
    done = setup(machine)
    assert done.returncode == 1
    assert "could not build the engine: main.go:1: oh no" in done.stderr
    assert machine.leftovers() == []
    machine.add_go()
    assert setup(machine).returncode == 0


def test_two_at_once_build_once(machine: Machine) -> None:
    machine.add_go(behaviour="sleep 2")
    fallback = machine.stand_ins()
    both = [machine.start("setup", "--fallback", fallback) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert machine.count("builds") == 1
    assert sum("waiting for that one" in text for text in said) >= 1


def test_an_interrupt_ends_the_build_too_and_leaves_nothing(machine: Machine) -> None:
    machine.add_go(behaviour="exec sleep 60")
    process = machine.start("setup")
    builder = int(wait_for(machine.root / "builds.pid"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in said
    assert not alive(builder)
    assert machine.leftovers() == []


def test_after_a_kill_in_the_middle_of_a_build_the_next_setup_works(machine: Machine) -> None:
    machine.add_go(behaviour="exec sleep 60")
    process = machine.start("setup")
    builder = int(wait_for(machine.root / "builds.pid"))
    process.kill()
    process.communicate(timeout=60)
    machine.add_go()
    assert setup(machine).returncode == 0
    assert machine.leftovers() == []
    assert not alive(builder)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs root to mount it")
def test_a_full_disk_is_told_in_one_error(machine: Machine) -> None:
    machine.add_go(behaviour='mkdir -p "$(dirname "$2")"; cat /dev/zero >"$2" || exit 1')
    cache = machine.root / "xdg"
    cache.mkdir()
    command = f'mount -t tmpfs -o size=100k none "{cache}" && exec "$0" -m stacks setup'
    done = subprocess.run(
        ["/usr/bin/unshare", "-m", "/bin/sh", "-c", f'PATH="$PATH:/bin:/sbin"; {command}',
         sys.executable],
        cwd=CHECKOUT, env=machine.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "The disk is full" in done.stderr
    assert "XDG_CACHE_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_official_engine_is_installed_where_the_internet_answers(machine: Machine) -> None:
    machine.add_go()
    with internet(machine.root, INSTALLER) as net:
        done = setup(machine, **net.env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["pulumi", "3.253.0", "official"]
    assert machine.count("builds") == 0
    assert setup(machine).returncode == 0
    assert machine.count("builds") == 0


def test_an_installer_that_fails_is_quoted_before_go_builds(machine: Machine) -> None:
    machine.add_go()
    with internet(machine.root, "#!/bin/sh\necho 'curl is not installed'; exit 1") as net:
        done = setup(machine, **net.env)
    assert "curl is not installed" in done.stderr
    assert done.stdout.split()[:3] == ["pulumi", "3.253.0", "built"]


def test_an_installer_that_hangs_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add_go()
    monkeypatch.setattr(engine, "INSTALL_TIMEOUT_S", 2.0)
    said: list[str] = []
    with internet(machine.root, silent=True) as net:
        for name, value in {**machine.env, **net.env}.items():
            monkeypatch.setenv(name, value)
        found = engine.find_or_install(said.append, machine.cache)
    assert found.origin == "built"
    assert any("out of time" in line for line in said)


def test_official_plugins_are_downloaded_once_for_all_checkouts(machine: Machine) -> None:
    machine.add_pulumi()
    with internet(machine.root) as net:
        first = setup(machine, **net.env)
    assert first.returncode == 0, first.stderr
    rows = [line.split() for line in first.stdout.splitlines()[1:]]
    assert rows == [[name, version, "official"] for name, version in _in_order()]
    other = machine.root / "other"
    second = setup(machine, PULUMI_HOME=str(other))
    assert second.returncode == 1  # this fallback fills the first home only: no language host
    assert machine.count("downloads") == 3
    executable = f"plugins/resource-hcloud-v{versions()['hcloud']}/pulumi-resource-hcloud"
    assert (other / executable).read_text() == "official\n"


def test_without_internet_the_fallback_fills_in_and_says_so(machine: Machine) -> None:
    machine.add_pulumi()
    done = setup(machine)
    assert "official hcloud, cloudflare, command can't be had" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert rows == [[name, version, "stand-in"] for name, version in _in_order()]


def test_official_plugins_take_the_place_of_stand_ins(machine: Machine) -> None:
    machine.add_pulumi()
    setup(machine)
    with internet(machine.root) as net:
        done = setup(machine, **net.env)
    assert done.stdout.count("official") == 3
    folder = machine.home / "plugins" / f"resource-command-v{versions()['command']}"
    assert [path.name for path in folder.iterdir()] == ["pulumi-resource-command"]
    assert not [p for p in (machine.home / "plugins").iterdir() if p.name.startswith(".")]


def test_without_a_fallback_what_is_missing_is_named(machine: Machine) -> None:
    machine.add_pulumi()
    done = machine.run("setup")
    assert done.returncode == 1
    for name in (*versions(), "pulumi-language-python"):
        assert name in done.stderr
    assert "make setup" in done.stderr


def test_a_fallback_that_fails_is_quoted(machine: Machine) -> None:
    machine.add_pulumi()
    broken = machine.command("broken", "#!/bin/sh\necho 'no such sandbox'; exit 3")
    done = machine.run("setup", "--fallback", str(broken))
    assert done.returncode == 1
    assert "could not be installed: no such sandbox" in done.stderr


def _in_order() -> list[tuple[str, str]]:
    return [(name, versions()[name]) for name in ("hcloud", "cloudflare", "command")]
