"""Fixtures: a driver that boots real machines, and an SSH client to look into them."""

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sandbox.machines import Machines, MachineSpec, choose, requirements

SPEC = MachineSpec(
    id=1,
    name="alice",
    image="base",
    user_data="",
    ssh_keys=(),
    cores=2,
    memory_mb=2048,
    disk_gb=10,
)


def wait_for_banner(address: str, timeout_s: float = 60) -> None:
    """Return when sshd greets at `address`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, 22), timeout=5) as connection:
                if connection.recv(64).startswith(b"SSH-2.0-"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"no sshd at {address} after {timeout_s} s")


def is_refused(address: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) != 0


def make_key(path: Path) -> str:
    """Make an ed25519 key pair; the public key."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True
    )
    return path.with_suffix(".pub").read_text().strip()


@dataclass(frozen=True)
class Ssh:
    """The OpenSSH client with a key of ours, accepting one host key only: the one that went in by
    user-data."""

    directory: Path
    public_key: str
    host_key: str

    def spec(self, id_: int, name: str, image: str = "base") -> MachineSpec:
        """A machine that lets us in and has our host key."""
        private = (self.directory / "host").read_text()
        user_data = "#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n"
        user_data += "".join(f"    {line}\n" for line in private.splitlines())
        user_data += f"  ed25519_public: {self.host_key}\n"
        keys = (self.public_key,)
        return replace(SPEC, id=id_, name=name, image=image, user_data=user_data, ssh_keys=keys)

    def run(self, address: str, command: str, stdin: str = "") -> str:
        """Run a command as root once sshd answers; its output. Fails on a non-zero exit.

        cloud-init restarts sshd once in the first boot: who comes just then comes again.
        """
        for _ in range(3):
            wait_for_banner(address)
            result = self.try_run(address, command, stdin)
            if "kex_exchange_identification" not in result.stderr:
                break
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def try_run(
        self, address: str, command: str, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as root, whatever comes of it."""
        known_hosts = self.directory / f"known_hosts-{address}"
        known_hosts.write_text(f"{address} {self.host_key}\n")
        options = [
            *("-F", "none", "-i", str(self.directory / "key"), "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known_hosts}"),
            *("-o", "HostKeyAlgorithms=ssh-ed25519", "-o", "ConnectTimeout=10"),
        ]
        return subprocess.run(
            ["ssh", *options, f"root@{address}", command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Ssh:
    directory = tmp_path_factory.mktemp("ssh")
    return Ssh(directory, make_key(directory / "key"), make_key(directory / "host"))


@pytest.fixture(scope="session")
def real_machines_possible() -> None:
    if problems := requirements.problems():
        pytest.skip("; ".join(problems))


@pytest.fixture
def machines(tmp_path: Path, real_machines_possible: None) -> Iterator[Machines]:
    """A driver of its own for each test, with every machine removed afterwards."""
    driver = choose(tmp_path / "machines", "nspawn", unused_port())
    yield driver
    for id_ in range(1, 10):
        driver.delete(id_)
    driver.close()


def unused_port() -> int:
    """A port on the host's loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
