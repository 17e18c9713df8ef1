"""What machines reach, and what they don't."""

import http.server
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.machines import Machines, choose
from tests.sandbox.machines.conftest import Ssh, unused_port

pytestmark = pytest.mark.machine

DIAL = (
    "python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)'"
)


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from the clouds")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def clouds_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def online(tmp_path: Path, real_machines_possible: None, clouds_port: int) -> Iterator[Machines]:
    driver = choose(tmp_path / "machines", "nspawn", clouds_port)
    yield driver
    driver.delete(1)
    driver.close()


def test_a_server_reaches_the_clouds_through_their_one_door(online: Machines, ssh: Ssh) -> None:
    online.create(ssh.spec(1, "alice"))
    seen = ssh.run(online.address(1), "curl -sS --max-time 10 http://10.77.0.1:18080/")
    assert seen == "hello from the clouds"


def test_a_server_does_not_reach_the_host(online: Machines, ssh: Ssh, clouds_port: int) -> None:
    online.create(ssh.spec(1, "alice"))
    links = json.loads(subprocess.check_output(["ip", "-json", "-4", "address"]))
    own = [info["local"] for link in links for info in link["addr_info"]]
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        port = everywhere.getsockname()[1]
        doors = [(address, port) for address in own if not address.startswith("127.")]
        doors += [("10.0.2.2", port), ("10.0.2.3", port), ("10.77.0.1", port)]
        doors += [("10.77.0.1", clouds_port), ("169.254.169.254", 80)]
        for address, door in doors:
            result = ssh.run(online.address(1), f"{DIAL} {address} {door} 2>&1 || echo no way")
            assert "no way" in result, (address, door)


def test_package_clients_reach_their_mirrors(online: Machines, ssh: Ssh) -> None:
    online.create(ssh.spec(1, "alice"))
    report = ssh.run(online.address(1), "apt-get update 2>&1 && apt-get -qq download tree 2>&1; ls")
    assert "tree_" in report, report


def test_two_sandboxes_run_side_by_side(tmp_path: Path, online: Machines, ssh: Ssh) -> None:
    other = choose(tmp_path / "other", "nspawn", unused_port())
    online.create(ssh.spec(1, "alice"))
    other.create(ssh.spec(1, "bob"))
    assert online.address(1) != other.address(1)
    assert ssh.run(online.address(1), "hostname") == "alice\n"
    assert ssh.run(other.address(1), "hostname") == "bob\n"
    other.delete(1)
    other.close()
    assert ssh.run(online.address(1), "hostname") == "alice\n"


def test_the_hosts_own_network_is_not_changed(
    tmp_path: Path, ssh: Ssh, real_machines_possible: None
) -> None:
    before = host_network()
    driver = choose(tmp_path / "machines", "nspawn", unused_port())
    driver.create(ssh.spec(1, "alice"))
    assert host_network() == before
    driver.delete(1)
    driver.close()
    assert host_network() == before


def host_network() -> list[str]:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    commands = ("ip -o address", "ip route", "ip netns list", "nft list ruleset")
    outputs = [
        subprocess.check_output(command.split(), text=True, env=environment) for command in commands
    ]
    return [*outputs, Path("/proc/sys/net/ipv4/ip_forward").read_text()]
