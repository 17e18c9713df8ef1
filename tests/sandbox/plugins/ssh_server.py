"""A real OpenSSH server on loopback for one user: the one who runs the tests."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_S = 60.0


@dataclass(frozen=True)
class SshServer:
    """Where it listens and which keys it knows."""

    port: int
    user: str
    host_key: str
    private_key: str

    def connection(self, **more: Any) -> dict[str, Any]:
        """A `connection` of the command plugin, with the host key pinned."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "private_key": self.private_key,
            "host_key": self.host_key,
            "dial_error_limit": 3,
            **more,
        }


def start(directory: Path) -> tuple[SshServer, "subprocess.Popen[bytes]"]:
    """Start sshd in the foreground; keys and configuration live in `directory`."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    port = free_port()
    (directory / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {directory / 'host'}\n"
        f"AuthorizedKeysFile {directory / 'user.pub'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\n"
        "AcceptEnv GREETING PULUMI_COMMAND_STDOUT\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation asks for it
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(directory / "config")], stderr=subprocess.DEVNULL
    )
    wait_until_open(port)
    server = SshServer(
        port=port,
        user=getpass.getuser(),
        host_key=(directory / "host.pub").read_text(),
        private_key=(directory / "user").read_text(),
    )
    return server, process


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until_open(port: int) -> None:
    """Wait until somebody listens."""
    ends = time.monotonic() + READY_S
    while time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on port {port}")
