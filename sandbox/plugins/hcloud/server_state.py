"""A server as the state keeps it."""

import base64
import hashlib
import ipaddress
from typing import Any

from sandbox.plugins.values import Props

COMPUTED = (
    "backupWindow",
    "id",
    "ipv4Address",
    "ipv6Address",
    "ipv6Network",
    "placementGroupId",
    "primaryDiskSize",
    "status",
)
"""Outputs that are no inputs (or, placementGroupId, none of ours)."""

KEPT = (
    "allowDeprecatedImages",
    "ignoreRemoteFirewallIds",
    "iso",
    "keepDisk",
    "networks",
    "publicNets",
    "rescue",
    "shutdownBeforeDeletion",
    "sshKeys",
    "userData",
)
"""What the API does not tell, or the official plugin does not ask."""


def user_data_hash(text: str) -> str:
    """How user data is kept: the base64 of its SHA-1, as the official plugin does."""
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


def public_nets_of(value: Any) -> list[dict[str, Any]]:
    """`publicNets` with the defaults filled in."""
    default = {"ipv4": 0, "ipv4Enabled": True, "ipv6": 0, "ipv6Enabled": True}
    given = ({key: item for key, item in net.items() if item is not None} for net in value or [])
    return [default | net for net in given]


def outputs_of(server: dict[str, Any], known: Props) -> Props:
    """The outputs of an API answer; `known` are the earlier outputs, or those expected."""
    network = server["public_net"]
    protection = server.get("protection") or {}
    group = server.get("placement_group") or {}
    labels = server.get("labels") or {}
    outputs = {name: known.get(name) for name in KEPT}
    return outputs | {
        "backupWindow": server.get("backup_window") or "",
        "backups": bool(server.get("backup_window")),
        "datacenter": _datacenter(server, known),
        "deleteProtection": bool(protection.get("delete")),
        "firewallIds": [firewall["id"] for firewall in network.get("firewalls") or []],
        "id": str(server["id"]),
        "image": _image(server.get("image"), known.get("image")),
        "ipv4Address": (network.get("ipv4") or {}).get("ip") or "",
        "ipv6Address": _first_address((network.get("ipv6") or {}).get("ip")),
        "ipv6Network": (network.get("ipv6") or {}).get("ip") or "",
        # An empty map given by nobody stays unset: otherwise a refresh would show a change.
        "labels": labels if labels or known.get("labels") is not None else None,
        "location": _location(server),
        "name": server["name"],
        "placementGroupId": group.get("id") or 0,
        "primaryDiskSize": server.get("primary_disk_size"),
        "rebuildProtection": bool(protection.get("rebuild")),
        "serverType": server["server_type"]["name"],
        "status": server["status"],
    }


def _datacenter(server: dict[str, Any], known: Props) -> Any:
    # Hetzner announced that the datacenter leaves the answers.
    return (server.get("datacenter") or {}).get("name") or known.get("datacenter")


def _location(server: dict[str, Any]) -> str:
    direct = server.get("location") or (server.get("datacenter") or {})["location"]
    return str(direct["name"])


def _image(image: dict[str, Any] | None, known: Any) -> Any:
    """The name, or the id where the image has no name or was asked for by its id."""
    if image is None:
        return known
    name = image.get("name")
    return name if name and str(image["id"]) != known else str(image["id"])


def _first_address(network: str | None) -> str:
    return str(next(ipaddress.ip_network(network, strict=False).hosts())) if network else ""
