"""A real machine to run the install steps on, with the sandbox's downloads and model beside it."""

import socket
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from string import Template

import paramiko
from flask import Flask
from waitress.server import create_server

from sandbox.clouds import anthropic
from sandbox.clouds.store import Store
from sandbox.clouds.world import Credentials, World
from sandbox.downloads import artifacts, service
from sandbox.machines.api_only import ApiOnlyMachines
from sandbox.machines.driver import Machines, MachineSpec
from sandbox.machines.nspawn import NspawnMachines
from tests.cloud_init.documents import CLOUD_INIT, INSTALL, KeyPair, make_ssh_key

SERVER_ID = 1
GUESTS_URL = "http://10.77.0.1:18080"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


class Machine:
    """A server with root by key, as Hetzner would hand it over."""

    def __init__(self, machines: Machines, login: KeyPair, host: KeyPair) -> None:
        self._machines = machines
        self._login = paramiko.Ed25519Key(file_obj=StringIO(login.private))
        self._host = paramiko.PKey.from_type_string(*_public(host.public))

    @property
    def address(self) -> str:
        return self._machines.address(SERVER_ID)

    def run(self, command: str, stdin: str = "", timeout_s: float = 120) -> Done:
        with self._connect() as client:
            into, out, err = client.exec_command(command, timeout=timeout_s)
            into.write(stdin)
            into.channel.shutdown_write()
            return Done(
                out=out.read().decode(),
                err=err.read().decode(),
                status=out.channel.recv_exit_status(),
            )

    def copy_install_files(self) -> None:
        """As Pulumi's CopyToRemote does: over SFTP, and without the files' modes."""
        with self._connect() as client, client.open_sftp() as sftp:
            client.exec_command("mkdir /opt/clawdet")[1].channel.recv_exit_status()
            for path in (INSTALL, *sorted(INSTALL.rglob("*"))):
                target = f"/opt/clawdet/{path.relative_to(CLOUD_INIT)}"
                if path.is_dir():
                    sftp.mkdir(target)
                else:
                    sftp.put(str(path), target)

    def reboot(self) -> None:
        self._machines.reboot(SERVER_ID)
        self.await_ssh()

    def await_ssh(self, within_s: float = 60) -> None:
        """Until somebody can log in to stay: cloud-init restarts sshd once on its way."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                self.run("cloud-init status --wait")
                return
            except (OSError, EOFError, paramiko.SSHException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    @contextmanager
    def _connect(self) -> Iterator[paramiko.SSHClient]:
        client = paramiko.SSHClient()
        client.get_host_keys().add(self.address, self._host.get_name(), self._host)
        client.connect(
            self.address,
            username="root",
            pkey=self._login,
            allow_agent=False,
            look_for_keys=False,
            timeout=10,
        )
        try:
            yield client
        finally:
            client.close()


@contextmanager
def boot(directory: Path) -> Iterator[tuple[Machine, Credentials]]:
    """A machine that has just come up for `alice`; everything is gone afterwards."""
    credentials = Credentials.load_or_make(directory / "credentials.json")
    with _clouds(directory, credentials) as port:
        machines = NspawnMachines(directory / "machines", port, print)
        try:
            login, host = make_ssh_key(), make_ssh_key()
            user_data = Template((CLOUD_INIT / "user-data.yaml").read_text()).substitute(
                hostname="alice",
                ssh_public_key=login.public,
                host_private_key=host.private.strip().replace("\n", "\n    "),
                host_public_key=host.public,
            )
            machines.create(
                MachineSpec(SERVER_ID, "alice", "base", user_data, (), 3, 4096, disk_gb=80)
            )
            machine = Machine(machines, login, host)
            machine.await_ssh()
            yield machine, credentials
        finally:
            machines.delete(SERVER_ID)
            machines.close()


@contextmanager
def _clouds(directory: Path, credentials: Credentials) -> Iterator[int]:
    """The downloads and the model, served on a free port of loopback."""
    store = Store(directory / "clouds.sqlite")
    world = World(store, ApiOnlyMachines(directory / "none"), credentials, directory)
    app = Flask("clouds", static_folder=None)
    app.register_blueprint(service.blueprint(world), url_prefix="/downloads")
    app.register_blueprint(anthropic.blueprint(world), url_prefix="/anthropic")
    artifacts.ensure(print)
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(app, sockets=[listener], threads=8)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        thread.join(60)
        store.close()


def _public(line: str) -> tuple[str, bytes]:
    kind, blob = line.split()[:2]
    return kind, b64decode(blob)
