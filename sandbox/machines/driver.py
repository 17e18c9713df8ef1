"""What a machine driver does: the border between the clouds' API and the machines behind it."""

from dataclasses import dataclass
from typing import Literal, Protocol

PowerState = Literal["running", "off"]


@dataclass(frozen=True)
class MachineSpec:
    """A server as the cloud's API was asked for it.

    `id`: the API's server id. `image`: "base" or a snapshot's image id. `user_data`: cloud-init
    user-data, may be empty. `ssh_keys`: public keys in OpenSSH form. `memory_mb`, `disk_gb`,
    `cores`: the server type's size, enforced by the driver as far as it can.
    """

    id: int
    name: str
    image: str
    user_data: str
    ssh_keys: tuple[str, ...]
    cores: int
    memory_mb: int
    disk_gb: int


class MachineError(Exception):
    """A machine operation failed; the message says what and what to do."""


class Machines(Protocol):
    """Every method is idempotent, thread-safe and blocks until done (seconds, not minutes)."""

    name: str
    """The driver's name: "nspawn" or "api-only"."""

    def create(self, spec: MachineSpec) -> None:
        """Make the machine's disk and seed, and switch it on."""

    def power_on(self, id_: int) -> None: ...

    def power_off(self, id_: int) -> None:
        """Pull the plug."""

    def shutdown(self, id_: int) -> None:
        """Ask the guest to power itself off; pull the plug after a grace period."""

    def reboot(self, id_: int) -> None: ...

    def resize(self, id_: int, cores: int, memory_mb: int, disk_gb: int) -> None:
        """New limits, in force from the next power-on."""

    def rebuild(self, id_: int, image: str) -> None:
        """Throw the disk away, start again from `image` with the same seed, and switch on."""

    def snapshot(self, id_: int, image_id: str) -> float:
        """Keep the disk as image `image_id`; its size in GB. The machine then is as before."""

    def delete_image(self, image_id: str) -> None: ...

    def delete(self, id_: int) -> None:
        """Remove the machine and everything of it."""

    def state(self, id_: int) -> PowerState | None:
        """Its power state now (the guest may have switched itself off); None when unknown here."""

    def address(self, id_: int) -> str:
        """Its public IPv4: a loopback address of this host, stable for the machine's life, and
        known before `create` is called."""

    def resume(self) -> None:
        """Switch on what was on when the last driver on this directory ended, as after a power
        cut. What does not come back is logged."""

    def close(self) -> None:
        """Stop every machine and remove every process, mount and namespace; disks are kept, and
        the next driver on the same directory can `resume`."""
