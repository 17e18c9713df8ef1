"""What every part of the Hetzner service shares: memory, machines, settings and stock."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.clouds.hetzner import catalog
from sandbox.clouds.hetzner.errors import not_found
from sandbox.clouds.store import Document, Store
from sandbox.clouds.world import World
from sandbox.machines.driver import Machines

SERVER, ACTION, SSH_KEY = "hetzner.server", "hetzner.action", "hetzner.ssh_key"
FIREWALL, IMAGE, PRIMARY_IP = "hetzner.firewall", "hetzner.image", "hetzner.primary_ip"
SETTING, STOCK = "hetzner.setting", "hetzner.stock"

REQUESTS_PER_HOUR = 360_000
"""A hundred times the vendor's 3600: here every stack and every test share one project."""


def now() -> str:
    """The time as the vendor writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def public(document: Document) -> Document:
    """The document without what is ours alone (keys that begin with an underscore)."""
    return {key: value for key, value in document.items() if not key.startswith("_")}


@dataclass(frozen=True)
class Cloud:
    """The project that the token belongs to."""

    world: World

    @property
    def store(self) -> Store:
        """The documents."""
        return self.world.store

    @property
    def machines(self) -> Machines:
        """The machines behind the servers."""
        return self.world.machines

    def new_id(self) -> int:
        """An id that no resource of any kind ever had."""
        return self.store.next_id("hetzner.id", first=100_001)

    def must_get(self, kind: str, id_: int) -> Document:
        """A document. Raises ApiError not_found with the kind's name."""
        document = self.store.get(kind, id_)
        if document is None:
            raise not_found(kind.removeprefix("hetzner.").replace("_", " "), id_)
        return document

    def action_seconds(self) -> float:
        """How long an action shows as running at least."""
        setting = self.store.get(SETTING, "action_seconds")
        return float(setting["value"]) if setting else self.world.action_seconds

    def set_action_seconds(self, seconds: float) -> None:
        """Make actions slow (or instant with 0), those under way included."""
        self.store.put(SETTING, "action_seconds", {"value": seconds})

    def requests_per_hour(self) -> int:
        """The rate limit of the project."""
        setting = self.store.get(SETTING, "requests_per_hour")
        return int(setting["value"]) if setting else REQUESTS_PER_HOUR

    def set_requests_per_hour(self, number: int) -> None:
        """Set the rate limit, from the next request on."""
        self.store.put(SETTING, "requests_per_hour", {"value": number})

    def sold_out(self) -> set[tuple[str, str]]:
        """Pairs of server type and location that have no room."""
        return {(s["server_type"], s["location"]) for s in self.store.all(STOCK)}

    def set_stock(self, server_type: str, location: str, available: bool) -> None:
        """Say whether a server type can be had in a location that sells it.

        Raises ValueError when the location never sells it.
        """
        if location not in catalog.SOLD_IN.get(server_type, ()):
            raise ValueError(f"{server_type!r} is not sold in {location!r}")
        id_ = f"{server_type}@{location}"
        if available:
            self.store.delete(STOCK, id_)
        else:
            self.store.put(STOCK, id_, {"server_type": server_type, "location": location})

    def server_types(self) -> list[Document]:
        """Every server type with what each location has of it now."""
        sold_out = self.sold_out()
        return [self._with_stock(type_, sold_out) for type_ in catalog.SERVER_TYPES]

    def server_type(self, name: str) -> Document:
        """One server type by its name, likewise."""
        type_ = next(t for t in catalog.SERVER_TYPES if t["name"] == name)
        return self._with_stock(type_, self.sold_out())

    def _with_stock(self, type_: Document, sold_out: set[tuple[str, str]]) -> Document:
        locations = [
            {
                "id": catalog.location(name)["id"],
                "name": name,
                "deprecation": None,
                "available": (type_["name"], name) not in sold_out,
                "recommended": True,
            }
            for name in catalog.SOLD_IN[type_["name"]]
        ]
        return {**type_, "locations": locations}


def correlation_id() -> str:
    """A request's id in the form of the vendor's X-Correlation-Id."""
    return f"{random.getrandbits(64):016x}"
