"""What Hetzner sells: locations, datacenters, server types and system images.

Names, places, sizes and the ids of common images are the vendor's (docs.hetzner.cloud). Prices
are round figures of the sandbox's own in the vendor's format: read prices from the real API.
"""

from typing import Any

from sandbox.clouds.store import Document

TIB = 2**40
VAT = 1.19
_PLACES: tuple[tuple[Any, ...], ...] = (
    (1, "fsn1", "Falkenstein DC Park 1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central"),
    (2, "nbg1", "Nuremberg DC Park 1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central"),
    (3, "hel1", "Helsinki DC Park 1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central"),
    (4, "ash", "Ashburn, VA", "US", "Ashburn, VA", 39.045821, -77.487073, "us-east"),
    (5, "hil", "Hillsboro, OR", "US", "Hillsboro, OR", 45.54222, -122.951924, "us-west"),
    (6, "sin", "Singapore", "SG", "Singapore", 1.283333, 103.833333, "ap-southeast"),
)
_PLACE_FIELDS = (
    "id", "name", "description", "country", "city", "latitude", "longitude", "network_zone",
)  # fmt: skip
LOCATIONS: list[Document] = [dict(zip(_PLACE_FIELDS, place, strict=True)) for place in _PLACES]

DATACENTERS: tuple[tuple[int, str, str], ...] = (
    (2, "nbg1-dc3", "nbg1"),
    (3, "hel1-dc2", "hel1"),
    (4, "fsn1-dc14", "fsn1"),
    (5, "ash-dc1", "ash"),
    (6, "hil-dc1", "hil"),
    (7, "sin-dc1", "sin"),
)

_EU, _ABROAD = ("fsn1", "nbg1", "hel1"), ("ash", "hil", "sin")
_TYPES: tuple[tuple[Any, ...], ...] = (
    # id, name, cores, memory GB, disk GB, EUR a month (net), locations
    (22, "cpx11", 2, 2, 40, 4.0, _ABROAD),
    (23, "cpx21", 3, 4, 80, 8.0, _ABROAD),
    (24, "cpx31", 4, 8, 160, 15.0, _ABROAD),
    (25, "cpx41", 8, 16, 240, 28.0, _ABROAD),
    (26, "cpx51", 16, 32, 360, 60.0, _ABROAD),
    (108, "cpx12", 1, 2, 40, 4.0, _EU),
    (109, "cpx22", 2, 4, 80, 7.0, _EU),
    (110, "cpx32", 4, 8, 160, 12.0, _EU),
    (111, "cpx42", 8, 16, 320, 22.0, _EU),
    (112, "cpx52", 12, 24, 480, 31.0, _EU),
    (114, "cx23", 2, 4, 40, 3.5, _EU),
    (115, "cx33", 4, 8, 80, 5.5, _EU),
    (116, "cx43", 8, 16, 160, 10.0, _EU),
    (117, "cx53", 16, 32, 320, 19.0, _EU),
)


def money(net: float, digits: int = 4) -> dict[str, str]:
    """An amount in EUR as the vendor writes it: text, net and gross."""
    return {"net": f"{net:.{digits}f}", "gross": f"{net * VAT:.{digits}f}"}


def _prices(monthly: float, locations: tuple[str, ...]) -> list[Document]:
    return [
        {
            "location": location,
            "price_hourly": money(monthly / 624),
            "price_monthly": money(monthly),
            "included_traffic": (20 if location in _EU else 1) * TIB,
            "price_per_tb_traffic": money(1.0),
        }
        for location in locations
    ]


def _server_type(row: tuple[Any, ...]) -> Document:
    id_, name, cores, memory, disk, monthly, locations = row
    return {
        "id": id_,
        "name": name,
        "description": name.upper(),
        "category": "Regular Performance" if name.startswith("cpx") else "Cost-Optimized",
        "cores": cores,
        "memory": float(memory),
        "disk": disk,
        "deprecated": False,
        "deprecation": None,
        "prices": _prices(monthly, locations),
        "storage_type": "local",
        "cpu_type": "shared",
        "architecture": "x86",
    }


SERVER_TYPES: list[Document] = [_server_type(row) for row in _TYPES]
SOLD_IN: dict[str, tuple[str, ...]] = {row[1]: row[6] for row in _TYPES}
"""Server type name to the names of the locations that have it."""

_IMAGES: tuple[tuple[int, str, str, str, str, bool], ...] = (
    # id, name, flavor, version, architecture, deprecated
    (15512617, "ubuntu-20.04", "ubuntu", "20.04", "x86", True),
    (67794396, "ubuntu-22.04", "ubuntu", "22.04", "x86", False),
    (114690387, "debian-12", "debian", "12", "x86", False),
    (161547269, "ubuntu-24.04", "ubuntu", "24.04", "x86", False),
    (161547270, "ubuntu-24.04", "ubuntu", "24.04", "arm", False),
)


def _image(row: tuple[int, str, str, str, str, bool]) -> Document:
    id_, name, flavor, version, architecture, deprecated = row
    since = "2025-05-31T00:00:00Z" if deprecated else None
    until = "2025-08-31T00:00:00Z"
    return {
        "id": id_,
        "type": "system",
        "status": "available",
        "name": name,
        "description": f"{flavor.capitalize()} {version}",
        "image_size": None,
        "disk_size": 5,
        "created": "2024-04-25T13:26:27Z",
        "created_from": None,
        "bound_to": None,
        "os_flavor": flavor,
        "os_version": version,
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": since,
        "deprecation": {"announced": since, "unavailable_after": until} if since else None,
        "deleted": None,
        "labels": {},
        "architecture": architecture,
    }


SYSTEM_IMAGES: list[Document] = [_image(row) for row in _IMAGES]


def location(name: str) -> Document:
    """A location by its name."""
    return next(place for place in LOCATIONS if place["name"] == name)


def pricing() -> Document:
    """The price list."""
    zones = [place["name"] for place in LOCATIONS]
    address = [
        {"location": zone, "price_hourly": money(0.0008), "price_monthly": money(0.5)}
        for zone in zones
    ]
    free = [{**price, "price_hourly": money(0), "price_monthly": money(0)} for price in address]
    return {
        "currency": "EUR",
        "vat_rate": f"{(VAT - 1) * 100:.6f}",
        "image": {"price_per_gb_month": money(0.011)},
        "floating_ips": [],
        "load_balancer_types": [],
        "primary_ips": [{"type": "ipv4", "prices": address}, {"type": "ipv6", "prices": free}],
        "server_backup": {"percentage": "20.0000000000"},
        "server_types": [
            {"id": t["id"], "name": t["name"], "prices": t["prices"]} for t in SERVER_TYPES
        ],
        "volume": {"price_per_gb_month": money(0.044)},
    }
