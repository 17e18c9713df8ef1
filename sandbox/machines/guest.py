"""One boot of one machine: its process, control group, cable and open ports, until it is off."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.machines.cgroup import Cgroup
from sandbox.machines.children import Children
from sandbox.machines.driver import MachineError, MachineSpec
from sandbox.machines.network import PREFIX, World
from sandbox.machines.relay import Relay

HERE = Path(__file__).parent
PORTS = (22, 80, 443)
REBOOT_EXIT = 133  # systemd-nspawn, when the guest asked for a reboot
POWER_OFF = signal.SIGRTMIN + 4  # systemd(1): starts poweroff.target
REBOOT = signal.SIGRTMIN + 5  # systemd(1): starts reboot.target
REPEAT_S = 1.0
BOOT_TIMEOUT_S = 60.0
LOOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Host:
    """What all guests of a sandbox share."""

    children: Children
    world: World
    relay: Relay


@dataclass(frozen=True)
class Place:
    """Where a guest lives: its directory, the base image's tree, its addresses' last byte and its
    public address, and its control group."""

    directory: Path
    base: Path
    index: int
    address: str
    cgroup: Cgroup


class Guest:
    """A machine that is on.

    `off` is called when it has stopped by itself or by force and nothing of it is left but its
    disk, with `reboot` saying whether it wants to come back; in a thread of the guest's own, after
    `kill` and `ask` have returned or while they do. Raises MachineError or OSError when the
    machine doesn't come so far as to run its init.
    """

    def __init__(
        self, host: Host, place: Place, spec: MachineSpec, off: Callable[["Guest", bool], None]
    ) -> None:
        self._place = place
        self._off = off
        self._gone = threading.Event()
        self._cleanup = ExitStack()
        try:
            self._process = self._start(host, spec)
        except BaseException:
            self._cleanup.close()
            raise
        threading.Thread(target=self._watch, name=f"guest-{spec.id}", daemon=True).start()

    def kill(self) -> None:
        """Pull the plug; returns when nothing is left."""
        self._place.cgroup.kill()
        self._gone.wait()

    def ask(self, what: int, grace_s: float) -> bool:
        """Ask the guest to power off or reboot; whether it stopped within the grace.

        Asks again every second: an init that has only just started ignores signals.
        """
        deadline = time.monotonic() + grace_s
        while not self._gone.is_set() and (left := deadline - time.monotonic()) > 0:
            if init := _init(self._process):
                with suppress(ProcessLookupError):
                    os.kill(init, what)
            self._gone.wait(min(REPEAT_S, left))
        return self._gone.is_set()

    def _start(self, host: Host, spec: MachineSpec) -> "subprocess.Popen[bytes]":
        """Bring everything up; what is up is on the clean-up stack, in reverse order."""
        place, undo = self._place, self._cleanup
        undo.callback(_wait_for_loop, place.directory / "disk.img")
        undo.callback(place.cgroup.remove)
        entries = place.cgroup.create(spec.cores, spec.memory_mb)
        undo.callback(place.cgroup.kill)
        cable = host.world.attach(place.index)
        undo.callback(host.world.detach, place.index, cable)
        for port in PORTS:
            listener = socket.create_server((place.address, port), backlog=128)
            target = (f"{PREFIX}.{place.index}", port)
            undo.callback(host.relay.forward(listener, host.world.dial, target).close)
        command = ["sh", str(HERE / "launch.sh"), *map(str, entries), "--"]
        command += ["sh", str(HERE / "boot.sh"), str(place.directory), str(place.base)]
        command += [cable.path, f"server-{spec.id}", spec.name, str(place.cgroup.guest_entry)]
        with (place.directory / "console.log").open("wb") as console:
            process = host.children.start(command, console)
        self._wait_for_init(process)
        return process

    def _wait_for_init(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while not _init(process):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self._place.directory / "console.log").read_text(errors="replace")
                raise MachineError(f"the machine did not start: {said.strip()[-1000:]}")
            time.sleep(0.01)

    def _watch(self) -> None:
        code = self._process.wait()
        try:
            self._cleanup.close()
        finally:
            self._gone.set()
            self._off(self, code == REBOOT_EXIT)


def _init(process: "subprocess.Popen[bytes]") -> int | None:
    """The guest's init as the host numbers it: unshare's child is nspawn, whose child it is."""
    for nspawn in _children(process.pid):
        for pid in _children(nspawn):
            if _comm(pid) == "systemd":
                return pid
    return None


def _children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _wait_for_loop(disk: Path) -> None:
    """Wait until the kernel has unmounted a disk, which it does after the last process's end."""
    deadline = time.monotonic() + LOOP_TIMEOUT_S
    while any(_backing(loop) == str(disk) for loop in Path("/sys/block").glob("loop*")):
        if time.monotonic() > deadline:
            raise MachineError(f"{disk} stays mounted; see losetup and dmesg")
        time.sleep(0.005)


def _backing(loop: Path) -> str:
    """The file behind a loop device; empty when there is none."""
    try:
        return (loop / "loop" / "backing_file").read_text().strip()
    except OSError:  # free, or just being freed
        return ""
