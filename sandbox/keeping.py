"""What a supervisor keeps in its directory, so that the next one finds its way.

`lock`: who serves. `processes.json`: what to end if that one is killed. `ports.json`: the ports of
last time, which are used again (stacks and bookmarks hold them).
"""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from sandbox import running
from sandbox.processes import Identity, PortInUseError, listen, write_atomically

LEFTOVER_END_S = 30.0
"""What a killed supervisor's clouds may need to stop their machines."""


class SandboxError(Exception):
    """The sandbox can't start, or can't go on; the message says why and what to do."""


class _Ports(BaseModel):
    clouds: int = 0
    edge: int = 0


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """One supervisor per directory; the kernel lifts the lock of a killed one."""
    with (directory / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise SandboxError(
                f"A sandbox already runs in {directory} (process {holder})."
                f" Stop it with: python -m sandbox stop --dir {directory}"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def remember(directory: Path, identities: list[Identity]) -> None:
    """Which processes to look for should this one be killed."""
    listed = [identity.model_dump() for identity in identities]
    write_atomically(directory / "processes.json", json.dumps(listed))


def end_leftovers(directory: Path, tell: Callable[[str], None]) -> None:
    """What a killed supervisor left. Its children end by themselves, which may take a moment."""
    running.forget(directory)
    try:
        listed = json.loads((directory / "processes.json").read_text())
    except FileNotFoundError:
        return
    for identity in (Identity(**fields) for fields in listed):
        if identity.alive():
            tell(f"Ending process {identity.pid}, left by a sandbox that was killed.")
            identity.end(LEFTOVER_END_S)
    remember(directory, [])


def open_ports(
    directory: Path, clouds_port: int, edge_port: int
) -> tuple[socket.socket, socket.socket]:
    """The clouds' and the edge's listening sockets; 0 is last time's port, or any free one.

    Raises SandboxError when a port that was asked for is taken.
    """
    last = _last_ports(directory)
    clouds = _listen_again(clouds_port, last.clouds, "--clouds-port")
    try:
        edge = _listen_again(edge_port, last.edge, "--edge-port")
    except SandboxError:
        clouds.close()
        raise
    ports = _Ports(clouds=clouds.getsockname()[1], edge=edge.getsockname()[1])
    write_atomically(directory / "ports.json", ports.model_dump_json())
    return clouds, edge


def _last_ports(directory: Path) -> _Ports:
    try:
        return _Ports.model_validate_json((directory / "ports.json").read_text())
    except (FileNotFoundError, ValidationError):
        return _Ports()


def _listen_again(port: int, last: int, option: str) -> socket.socket:
    """The port that was asked for; else the one of last time, or a free one."""
    try:
        return listen(port or last, option)
    except PortInUseError as error:
        if port:
            raise SandboxError(str(error)) from error
        return listen(0, option)
