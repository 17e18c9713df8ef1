"""What a machine driver remembers across restarts: specs, addresses, images, power states."""

import threading
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from pydantic import TypeAdapter

from sandbox.machines.driver import MachineError, MachineSpec, PowerState

# The last byte of a machine's addresses, public and private; 1 is the private gateway's.
FIRST_ADDRESS, LAST_ADDRESS = 2, 254


@dataclass
class _Contents:
    machines: dict[int, MachineSpec] = field(default_factory=dict)
    power: dict[int, PowerState] = field(default_factory=dict)
    addresses: dict[int, int] = field(default_factory=dict)
    last_address: int = FIRST_ADDRESS - 1
    images: dict[str, float] = field(default_factory=dict)


_FORMAT = TypeAdapter(_Contents)


class Registry:
    """One JSON file, replaced atomically at every change. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._contents = _Contents()
        if path.exists():
            self._contents = _FORMAT.validate_json(path.read_bytes())

    def find(self, id_: int) -> MachineSpec | None:
        """The machine's spec, with the size it was last given; None when there is none."""
        with self._lock:
            return self._contents.machines.get(id_)

    def spec(self, id_: int) -> MachineSpec:
        """The machine's spec. Raises MachineError when there is none."""
        spec = self.find(id_)
        if spec is None:
            raise MachineError(f"there is no machine {id_}")
        return spec

    def put(self, spec: MachineSpec) -> None:
        """Add or replace a machine."""
        with self._lock:
            self._contents.machines[spec.id] = spec
            self._contents.power.setdefault(spec.id, "off")
            self._save()

    def resize(self, id_: int, cores: int, memory_mb: int, disk_gb: int) -> None:
        """Change what the machine is allowed."""
        with self._lock:
            spec = self.spec(id_)
            self.put(replace(spec, cores=cores, memory_mb=memory_mb, disk_gb=disk_gb))

    def remove(self, id_: int) -> None:
        """Forget a machine and free its address; no error when there is none."""
        with self._lock:
            self._contents.machines.pop(id_, None)
            self._contents.power.pop(id_, None)
            self._contents.addresses.pop(id_, None)
            self._save()

    def ids(self) -> list[int]:
        """Every machine's id."""
        with self._lock:
            return list(self._contents.machines)

    def power(self, id_: int) -> PowerState | None:
        """The power state last written; None when there is no such machine."""
        with self._lock:
            return self._contents.power.get(id_)

    def set_power(self, id_: int, state: PowerState) -> None:
        """Remember a power state."""
        with self._lock:
            self.spec(id_)
            self._contents.power[id_] = state
            self._save()

    def address_index(self, id_: int) -> int:
        """The number (2 to 254) of a machine's address, given out at the first question.

        Numbers go round, so that a deleted machine's address comes back as late as possible.
        """
        with self._lock:
            if id_ in self._contents.addresses:
                return self._contents.addresses[id_]
            last = self._contents.last_address
            turn = chain(range(last + 1, LAST_ADDRESS + 1), range(FIRST_ADDRESS, last + 1))
            taken = self._contents.addresses.values()
            index = next((number for number in turn if number not in taken), None)
            if index is None:
                raise MachineError("all addresses of this sandbox are in use: delete servers")
            self._contents.addresses[id_] = index
            self._contents.last_address = index
            self._save()
            return index

    def require_image(self, image: str) -> None:
        """Raises MachineError unless `image` is "base" or a snapshot's."""
        with self._lock:
            if image != "base" and image not in self._contents.images:
                raise MachineError(f"there is no image {image!r}")

    def put_image(self, image_id: str, size_gb: float) -> None:
        """Remember a snapshot."""
        with self._lock:
            self._contents.images[image_id] = size_gb
            self._save()

    def image_size(self, image_id: str) -> float | None:
        """A snapshot's size in GB; None when there is none."""
        with self._lock:
            return self._contents.images.get(image_id)

    def remove_image(self, image_id: str) -> None:
        """Forget a snapshot; no error when there is none."""
        with self._lock:
            self._contents.images.pop(image_id, None)
            self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.touch(mode=0o600)  # user-data holds keys
        new.write_bytes(_FORMAT.dump_json(self._contents, indent=1))
        new.replace(self._path)
