"""Whether this host can run real machines, and what to do where it can't."""

import os
import secrets
import socket
from pathlib import Path

from sandbox.machines import cgroup, packages
from sandbox.machines.driver import MachineError
from sandbox.machines.guest import PORTS
from sandbox.machines.netns import NetNamespace

KERNEL = (5, 14)  # the first with cgroup.kill
DEVICES = ("/dev/net/tun", "/dev/loop-control")


def problems() -> tuple[str, ...]:
    """What is missing for nspawn machines, each with its remedy; empty when nothing is."""
    if os.geteuid() != 0:
        return ("real machines need root: run the same command as root (sudo)", *_packages())
    found = [*_packages(), *_kernel(), *_ports()]
    try:
        cgroup.find()
    except MachineError as error:
        found.append(str(error))
    return tuple(found)


def _packages() -> list[str]:
    """Missing packages that can't be installed by us, or are another distribution's business."""
    lacking = packages.missing()
    if not lacking or packages.installable():
        return []
    return [f"programs are missing: apt-get install {' '.join(lacking)}"]


def _kernel() -> list[str]:
    found = [f"{path} is missing: run on the host" for path in DEVICES if not Path(path).exists()]
    release = os.uname().release
    major, minor = release.split(".")[:2]
    if (int(major), int(minor.split("-")[0])) < KERNEL:
        found.append(f"Linux {release} is too old: 5.14 or newer is needed")
    try:
        NetNamespace().close()
    except OSError as error:
        found.append(f"no network namespaces ({error}): run as root outside any container")
    return found


def _ports() -> list[str]:
    """Ports that a program of the host holds on every address, ours included."""
    # Outside every sandbox's block, and no two probes at once on one address.
    probe = f"127.127.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
    taken = []
    for port in PORTS:
        try:
            socket.create_server((probe, port)).close()
        except OSError as error:
            taken.append(f"port {port} can't be used ({error}): stop what listens on it")
    return taken
