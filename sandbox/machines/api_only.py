"""Servers that exist in the cloud's API only: for hosts that cannot run real machines."""

from pathlib import Path

from sandbox.machines.addresses import AddressBlock
from sandbox.machines.driver import MachineSpec, PowerState
from sandbox.machines.registry import Registry


class ApiOnlyMachines:
    """Instant machines with nothing behind them: every connection to them is refused.

    `directory` is the driver's own; `reasons` says what is missing for real machines and how to
    get it (empty when this driver was asked for). Close one driver before opening another on the
    same directory: what it knew is remembered there.
    """

    name = "api-only"

    def __init__(self, directory: Path, reasons: tuple[str, ...] = ()) -> None:
        self.reasons = reasons
        self._block = AddressBlock(directory)
        self._registry = Registry(directory / "machines.json")

    def create(self, spec: MachineSpec) -> None:
        """Add the machine, switched on."""
        self._registry.require_image(spec.image)
        self._registry.put(spec)
        self._registry.set_power(spec.id, "running")

    def power_on(self, id_: int) -> None:
        """Call it running."""
        self._registry.set_power(id_, "running")

    def power_off(self, id_: int) -> None:
        """Call it off."""
        self._registry.set_power(id_, "off")

    def shutdown(self, id_: int) -> None:
        """Call it off."""
        self._registry.set_power(id_, "off")

    def reboot(self, id_: int) -> None:
        """Call it running."""
        self._registry.set_power(id_, "running")

    def resize(self, id_: int, cores: int, memory_mb: int, disk_gb: int) -> None:
        """Remember the size."""
        self._registry.resize(id_, cores, memory_mb, disk_gb)

    def rebuild(self, id_: int, image: str) -> None:
        """Call it running again."""
        self._registry.require_image(image)
        self._registry.set_power(id_, "running")

    def snapshot(self, id_: int, image_id: str) -> float:
        """Remember an image; there is no disk, so it holds 0 GB."""
        self._registry.spec(id_)
        self._registry.put_image(image_id, 0.0)
        return 0.0

    def delete_image(self, image_id: str) -> None:
        """Forget an image."""
        self._registry.remove_image(image_id)

    def delete(self, id_: int) -> None:
        """Forget the machine."""
        self._registry.remove(id_)

    def state(self, id_: int) -> PowerState | None:
        """What it was last called."""
        return self._registry.power(id_)

    def address(self, id_: int) -> str:
        """Its loopback address, where nobody listens."""
        return self._block.address(self._registry.address_index(id_))

    def resume(self) -> None:
        """Nothing to do: a machine is what it was last called."""

    def close(self) -> None:
        """Let go of the directory. Power states are kept as they are."""
        self._block.release()
