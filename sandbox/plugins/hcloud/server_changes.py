"""Changes of a server in place."""

from typing import TYPE_CHECKING, Any

from sandbox.plugins.errors import PluginError
from sandbox.plugins.hcloud.labels import labels_of
from sandbox.plugins.resource import Operation
from sandbox.plugins.values import Props

if TYPE_CHECKING:
    from sandbox.plugins.hcloud.api import Hetzner

Json = dict[str, Any]


def after_create(operation: Operation["Hetzner"], server: Json, inputs: Props) -> None:
    """What a create can't ask for in its own request."""
    if inputs.get("backups"):
        _set_backups(operation, server, True)
    if inputs.get("deleteProtection") or inputs.get("rebuildProtection"):
        _set_protection(operation, server, inputs)


def apply(operation: Operation["Hetzner"], server: Json, inputs: Props, changed: set[str]) -> None:
    """Bring a server in line with its inputs; `changed` names the properties that differ."""
    path = f"/servers/{server['id']}"
    if "publicNets" in changed:
        raise PluginError(
            "the stand-in plugin can't change publicNets of a server that exists;"
            " replace the server, or install the official hcloud plugin"
        )
    if "name" in changed:
        operation.backend.send(operation, "PUT", path, {"name": inputs["name"]})
    if "labels" in changed:
        body = {"labels": labels_of(inputs.get("labels"))}
        operation.backend.send(operation, "PUT", path, body)
    if "serverType" in changed:
        _change_type(operation, server, inputs)
    if "backups" in changed:
        _set_backups(operation, server, bool(inputs.get("backups")))
    if "firewallIds" in changed:
        _set_firewalls(operation, server, inputs.get("firewallIds") or [])
    if changed & {"deleteProtection", "rebuildProtection"}:
        _set_protection(operation, server, inputs)


def _change_type(operation: Operation["Hetzner"], server: Json, inputs: Props) -> None:
    """Power off and change the type. Like the official plugin it does not power on again."""
    path = f"/servers/{server['id']}/actions"
    if server["status"] == "running":
        operation.backend.act(operation, f"{path}/poweroff")
    body = {
        "server_type": str(inputs["serverType"]),
        "upgrade_disk": not inputs.get("keepDisk", False),
    }
    operation.backend.act(operation, f"{path}/change_type", body)


def _set_backups(operation: Operation["Hetzner"], server: Json, wanted: bool) -> None:
    if bool(server.get("backup_window")) != wanted:
        verb = "enable_backup" if wanted else "disable_backup"
        operation.backend.act(operation, f"/servers/{server['id']}/actions/{verb}")


def _set_protection(operation: Operation["Hetzner"], server: Json, inputs: Props) -> None:
    body = {
        "delete": bool(inputs.get("deleteProtection")),
        "rebuild": bool(inputs.get("rebuildProtection")),
    }
    operation.backend.act(operation, f"/servers/{server['id']}/actions/change_protection", body)


def _set_firewalls(operation: Operation["Hetzner"], server: Json, wanted: list[int]) -> None:
    present = [one["id"] for one in server["public_net"].get("firewalls") or []]
    resource = {"type": "server", "server": {"id": server["id"]}}
    for firewall_id in present:
        if firewall_id not in wanted:
            path = f"/firewalls/{firewall_id}/actions/remove_from_resources"
            operation.backend.act(operation, path, {"remove_from": [resource]})
    for firewall_id in wanted:
        if firewall_id not in present:
            path = f"/firewalls/{firewall_id}/actions/apply_to_resources"
            operation.backend.act(operation, path, {"apply_to": [resource]})
