"""Real Linux machines: systemd-nspawn guests with disks, a network and public addresses."""

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.machines import addresses, cgroup, image, requirements, seed
from sandbox.machines.addresses import AddressBlock
from sandbox.machines.cgroup import Cgroup
from sandbox.machines.children import Children
from sandbox.machines.disk import Disks
from sandbox.machines.driver import MachineError, MachineSpec, PowerState
from sandbox.machines.guest import POWER_OFF, REBOOT, Guest, Host, Place
from sandbox.machines.network import CLOUDS_PORT, World
from sandbox.machines.registry import Registry
from sandbox.machines.relay import Relay

GRACE_S = 20.0
CLOSE_GRACE_S = 5.0
log = logging.getLogger(__name__)


@dataclass
class _Slot:
    """A machine's lock and, while it is on, its guest. The guest is read without the lock."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    guest: Guest | None = None


class NspawnMachines:
    """Machines in `directory` (the driver's own), all behind one network of this process.

    `clouds_port`: the port on the host's loopback that machines reach as 10.77.0.1:18080.
    `progress` hears of what takes long (the base image, at the first time). Raises MachineError
    where the host can't run machines. Everything but the disks ends with this process, however it
    ends; control groups that a killed one left behind are removed by the next driver.
    """

    name = "nspawn"

    def __init__(self, directory: Path, clouds_port: int, progress: Callable[[str], None]) -> None:
        if problems := requirements.problems():
            raise MachineError("; ".join(problems))
        self._progress = progress
        self._base = image.ensure(progress)
        self._slots: dict[int, _Slot] = {}
        self._slots_lock = threading.Lock()
        self._closing = False
        self._cleanup = ExitStack()
        try:
            self._open(directory.resolve(), clouds_port)
        except BaseException as error:
            self._cleanup.close()
            if isinstance(error, OSError):
                raise MachineError(f"real machines can't run here: {error}") from error
            raise

    def create(self, spec: MachineSpec) -> None:
        """Make disk and seed, and switch on; only switch on when the machine is there already."""
        with self._slot(spec.id).lock:
            if self._registry.find(spec.id) is None:
                self._registry.require_image(spec.image)
                self._disks.create(spec.id, spec.image, self._base.name, spec.disk_gb)
                seed.write(self._disks.server(spec.id) / "seed", spec)
                self._registry.put(spec)
            self.power_on(spec.id)

    def power_on(self, id_: int) -> None:
        """Switch on; returns when the guest's init runs."""
        self._registry.spec(id_)
        slot = self._slot(id_)
        with slot.lock:
            if slot.guest is None:
                slot.guest = self._boot(id_)

    def power_off(self, id_: int) -> None:
        """Pull the plug; returns when the machine's ports refuse connections."""
        self._registry.spec(id_)
        self._stop(id_, grace_s=0)

    def shutdown(self, id_: int) -> None:
        """Ask the guest to power off, and pull the plug if it hasn't within 20 s."""
        self._registry.spec(id_)
        self._stop(id_, GRACE_S)

    def reboot(self, id_: int) -> None:
        """Ask the guest to reboot, and pull the plug if it hasn't within 20 s; switches on."""
        self._registry.spec(id_)
        slot = self._slot(id_)
        guest = slot.guest
        if guest and not guest.ask(REBOOT, GRACE_S):
            guest.kill()
        with slot.lock:
            if slot.guest in (guest, None):  # else the guest's own reboot was quicker
                slot.guest = None
                slot.guest = self._boot(id_)

    def resize(self, id_: int, cores: int, memory_mb: int, disk_gb: int) -> None:
        """New limits from the next power-on; a disk only ever grows."""
        self._registry.resize(id_, cores, memory_mb, disk_gb)

    def rebuild(self, id_: int, image: str) -> None:
        """A new disk from `image` with the same seed, switched on."""
        spec = self._registry.spec(id_)
        self._registry.require_image(image)
        with self._slot(id_).lock:
            self._stop(id_, grace_s=0)
            self._disks.create(id_, image, self._base.name, spec.disk_gb)
            seed.write(self._disks.server(id_) / "seed", spec)
            self.power_on(id_)

    def snapshot(self, id_: int, image_id: str) -> float:
        """Stop the machine, make its disk an image, start it again if it ran; the size in GB."""
        spec = self._registry.spec(id_)
        slot = self._slot(id_)
        with slot.lock:
            known = self._registry.image_size(image_id)
            if known is not None:
                return known
            ran = slot.guest is not None
            self._stop(id_, GRACE_S)
            size_gb = self._disks.freeze(id_, image_id, spec.disk_gb)
            self._registry.put_image(image_id, size_gb)
            if ran:
                self.power_on(id_)
            return size_gb

    def delete_image(self, image_id: str) -> None:
        """Remove an image; machines made from it live on."""
        self._registry.remove_image(image_id)
        self._disks.remove_image(image_id)

    def delete(self, id_: int) -> None:
        """Pull the plug and remove the machine, its disk and its claim on an address."""
        with self._slot(id_).lock:
            self._stop(id_, grace_s=0)
            self._disks.remove(id_)
            self._registry.remove(id_)

    def state(self, id_: int) -> PowerState | None:
        """Whether it runs now; None for a machine that isn't here."""
        if self._registry.find(id_) is None:
            return None
        return "running" if self._slot(id_).guest else "off"

    def address(self, id_: int) -> str:
        """Its loopback address; its private one is 10.77.0.N with the same last byte."""
        return self._block.address(self._registry.address_index(id_))

    def resume(self) -> None:
        """Switch on what was on when the last driver ended, one after the other."""
        for id_ in self._registry.ids():
            if self._registry.power(id_) != "running":
                continue
            try:
                self.power_on(id_)
            except MachineError:
                if not self._closing:
                    log.exception("server %s did not come back", id_)

    def close(self) -> None:
        """Stop every machine (softly, for 5 s) and end network and relay; disks stay."""
        self._closing = True
        ids = self._registry.ids()
        try:
            with ThreadPoolExecutor(max_workers=max(1, len(ids))) as pool:
                for done in [pool.submit(self._stop, id_, CLOSE_GRACE_S) for id_ in ids]:
                    done.result()
        finally:
            self._cleanup.close()

    def _open(self, directory: Path, clouds_port: int) -> None:
        """Claim the directory, remove what a killed process left, and bring the network up."""
        undo = self._cleanup
        self._block = AddressBlock(directory)
        undo.callback(self._block.release)
        self._registry = Registry(directory / "machines.json")
        self._disks = Disks(directory)
        self._hierarchies = cgroup.find()
        _sweep(self._hierarchies, self._block.sandbox_id)
        undo.callback(cgroup.clean, self._hierarchies, self._block.sandbox_id)
        children = Children()
        undo.callback(children.close)
        relay = Relay()
        undo.callback(relay.close)
        world = World(children, directory / "slirp4netns.log")
        undo.callback(world.close)
        listener = world.listen(CLOUDS_PORT)
        undo.callback(relay.forward(listener, socket.socket, ("127.0.0.1", clouds_port)).close)
        self._host = Host(children, world, relay)

    def _slot(self, id_: int) -> _Slot:
        with self._slots_lock:
            return self._slots.setdefault(id_, _Slot())

    def _boot(self, id_: int) -> Guest:
        """Switch on a machine that is off. Call it with the machine's lock."""
        if self._closing:
            raise MachineError("the sandbox is being stopped")
        spec = self._registry.spec(id_)
        home = self._disks.server(id_)
        try:
            self._disks.prepare(id_, spec.disk_gb)
            place = Place(
                directory=home,
                base=image.tree(self._disks.base(home), self._progress),
                index=self._registry.address_index(id_),
                address=self.address(id_),
                cgroup=Cgroup(self._hierarchies, self._block.sandbox_id, str(id_)),
            )
            guest = Guest(
                self._host, place, spec, lambda guest, reboot: self._off(id_, guest, reboot)
            )
            self._registry.set_power(id_, "running")
            return guest
        except OSError as error:
            raise MachineError(f"server {id_} can't be switched on: {error}") from error

    def _stop(self, id_: int, grace_s: float) -> None:
        """Switch off and return when nothing is left.

        Waits without the lock, so that power_off cuts a shutdown short.
        """
        slot = self._slot(id_)
        guest = slot.guest
        if guest and not (grace_s and guest.ask(POWER_OFF, grace_s)):
            guest.kill()
        with slot.lock:
            if slot.guest is guest:
                slot.guest = None
                self._remember_off(id_)
            elif slot.guest:
                self._stop(id_, grace_s)  # it had just rebooted

    def _off(self, id_: int, guest: Guest, reboot: bool) -> None:
        """The guest has stopped; unless we did it, by its own will."""
        slot = self._slot(id_)
        with slot.lock:
            if slot.guest is not guest:
                return
            slot.guest = None
            if reboot and not self._closing:
                try:
                    slot.guest = self._boot(id_)
                except MachineError:
                    log.exception("server %s did not come back from its reboot", id_)
            else:
                self._remember_off(id_)

    def _remember_off(self, id_: int) -> None:
        """Switched off for good, unless it is we who are going."""
        if not self._closing and self._registry.find(id_):
            self._registry.set_power(id_, "off")


def _sweep(hierarchies: cgroup.Hierarchies, own_id: str) -> None:
    """End what killed sandboxes left: our own directory's, and those whose process is dead."""
    with addresses.exclusive() as lock_dir:
        for sandbox_id in cgroup.sandbox_ids(hierarchies):
            if sandbox_id == own_id or not addresses.is_running(lock_dir, sandbox_id):
                cgroup.clean(hierarchies, sandbox_id)
