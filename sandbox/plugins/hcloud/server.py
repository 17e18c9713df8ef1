"""`hcloud:index/server:Server`."""

from typing import TYPE_CHECKING, Any

from sandbox.plugins.diffing import Change
from sandbox.plugins.errors import InitFailedError, PluginError
from sandbox.plugins.hcloud import server_changes
from sandbox.plugins.hcloud.labels import LABELS, labels_of
from sandbox.plugins.hcloud.server_state import (
    COMPUTED,
    outputs_of,
    public_nets_of,
    user_data_hash,
)
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Field
from sandbox.plugins.values import UNKNOWN, Props

if TYPE_CHECKING:
    from sandbox.plugins.hcloud.api import Hetzner

UNSUPPORTED = (
    "the stand-in plugin does not serve this property; install the official hcloud plugin for it"
)
PUBLIC_NET = {
    "ipv4": Field("number"),
    "ipv4Enabled": Field("boolean", default=True),
    "ipv6": Field("number"),
    "ipv6Enabled": Field("boolean", default=True),
}
SHUTDOWN_TRIES = 15
SHUTDOWN_GAP_S = 1.0


class Server(Resource["Hetzner"]):
    """A virtual server."""

    token = "hcloud:index/server:Server"
    fields = {
        "allowDeprecatedImages": Field("boolean", kept=True),
        "backups": Field("boolean", default=False),
        "datacenter": Field("string", replace=True, computed=True),
        "deleteProtection": Field("boolean", default=False),
        "firewallIds": Field("list", items="number", computed=True, unordered=True),
        "ignoreRemoteFirewallIds": Field("boolean", default=False, kept=True),
        "image": Field("string", replace=True, computed=True),
        "iso": Field("string", unsupported=UNSUPPORTED),
        "keepDisk": Field("boolean", default=False, kept=True),
        "labels": LABELS,
        "location": Field("string", replace=True, computed=True),
        "name": Field("string", required=True),
        "networks": Field("list", unsupported=UNSUPPORTED),
        "placementGroupId": Field("number", unsupported=UNSUPPORTED),
        "publicNets": Field("list", fields=PUBLIC_NET, kept=True),
        "rebuildProtection": Field("boolean", default=False),
        "rescue": Field("string", unsupported=UNSUPPORTED),
        "serverType": Field("string", required=True),
        "shutdownBeforeDeletion": Field("boolean", default=False, kept=True),
        "sshKeys": Field("list", items="string", replace=True, kept=True),
        "userData": Field("string", replace=True, kept=True),
    }
    computed = COMPUTED
    named = True
    records_defaults = True

    def diff_field(self, name: str, spec: Field, state: Props, new: Props) -> dict[str, Change]:
        """As officially: unset networks change nothing, remote firewalls may be ignored."""
        if name == "publicNets" and not new.get("publicNets"):
            return {}
        if name == "firewallIds" and new.get("ignoreRemoteFirewallIds") and state.get(name):
            return {}
        if name == "placementGroupId":
            return {}
        return super().diff_field(name, spec, state, new)

    def comparable(self, name: str, have: Any, wanted: Any) -> tuple[Any, Any]:
        """The state holds the hash of the user data, and networks with their defaults."""
        if name == "userData" and isinstance(wanted, str) and wanted:
            same = have == user_data_hash(wanted) or have == wanted
            return (wanted if same else have), wanted
        if name == "publicNets" and isinstance(wanted, list):
            return public_nets_of(have), public_nets_of(wanted)
        return have, wanted

    def expected(self, inputs: Props) -> Props:
        """Every output that can be told before the server is there."""
        outputs: Props = {
            "allowDeprecatedImages": None,
            "iso": None,
            "labels": None,
            "networks": [],
            "publicNets": [],
            "rescue": None,
            "sshKeys": [],
            "userData": None,
        }
        outputs |= super().expected(inputs)
        if isinstance(outputs["userData"], str):
            outputs["userData"] = user_data_hash(outputs["userData"])
        if outputs["publicNets"] is not UNKNOWN:
            outputs["publicNets"] = public_nets_of(outputs["publicNets"])
        return outputs

    def create(self, operation: Operation["Hetzner"], inputs: Props) -> Live:
        """Look up what the inputs name, POST, wait for the actions, read.

        Once the POST was answered, an error leaves the server in the state: it is being billed.
        """
        body = _create_body(operation, inputs)
        answer = operation.backend.send(operation, "POST", "/servers", body)
        server = answer["server"]
        server_id = str(server["id"])
        try:
            operation.backend.wait_for(operation, answer)
            server_changes.after_create(operation, server, inputs)
            return self._found(operation, server_id, inputs)
        except PluginError as error:
            outputs = outputs_of(server, self.expected(inputs))
            raise InitFailedError(str(error), server_id, outputs) from error

    def read(self, operation: Operation["Hetzner"], known: Known) -> Live | None:
        """GET by id; a server that is gone is looked for by name as well, as officially."""
        found = operation.backend.find_by_id_or_name(
            operation, "/servers", "server", known.resource_id
        )
        if found is None:
            return None
        kept = known.state or self.expected(known.inputs)
        return Live(str(found["id"]), outputs_of(found, kept))

    def update(self, operation: Operation["Hetzner"], known: Known, inputs: Props) -> Props:
        """Change what differs, in the official plugin's order. A new type leaves the server off."""
        server = operation.backend.find_by_id_or_name(
            operation, "/servers", "server", known.resource_id
        )
        if server is None:
            raise PluginError(f"server {known.resource_id} is gone: run a refresh")
        changed = {
            name
            for name, spec in self.fields.items()
            if self.diff_field(name, spec, known.state, inputs)
        }
        server_changes.apply(operation, server, inputs, changed)
        return self._found(operation, known.resource_id, inputs).outputs

    def delete(self, operation: Operation["Hetzner"], known: Known) -> None:
        """DELETE it, after an orderly shutdown where that is asked for."""
        path = f"/servers/{known.resource_id}"
        if known.state.get("shutdownBeforeDeletion"):
            with operation.backend.gone_is_done():
                operation.backend.act(operation, f"{path}/actions/shutdown")
                self._wait_until_off(operation, path)
        operation.backend.delete(operation, path)

    def _wait_until_off(self, operation: Operation["Hetzner"], path: str) -> None:
        for _ in range(SHUTDOWN_TRIES):
            server = operation.backend.find(operation, path, "server")
            if server is None or server["status"] == "off":
                return
            operation.wait(SHUTDOWN_GAP_S)
        operation.warning("the server did not shut down in time; deleting it anyway")

    def _found(self, operation: Operation["Hetzner"], server_id: str, inputs: Props) -> Live:
        live = self.read(operation, Known(server_id, inputs))
        if live is None:
            raise PluginError(f"server {server_id} vanished while we worked on it")
        return live


def _create_body(operation: Operation["Hetzner"], inputs: Props) -> dict[str, Any]:
    """The request, in the official plugin's order of look-ups and members."""
    cloud = operation.backend
    type_name = str(inputs["serverType"])
    server_type = cloud.find_by_id_or_name(operation, "/server_types", "server_type", type_name)
    if server_type is None:
        raise PluginError(f"server type {type_name} not found")
    body: dict[str, Any] = {"name": inputs["name"], "server_type": type_name}
    body["image"] = _image_id(operation, str(inputs.get("image", "")), server_type["architecture"])
    keys = [_ssh_key_id(operation, str(key)) for key in inputs.get("sshKeys", [])]
    optional = {
        "ssh_keys": keys,
        "location": inputs.get("location"),
        "datacenter": inputs.get("datacenter"),
        "user_data": inputs.get("userData"),
        "labels": labels_of(inputs.get("labels")),
        "firewalls": [{"firewall": id_} for id_ in inputs.get("firewallIds", [])],
    }
    body |= {key: value for key, value in optional.items() if value}
    for net in public_nets_of(inputs.get("publicNets")):
        body["public_net"] = _public_net_body(net)
    return body


def _public_net_body(net: dict[str, Any]) -> dict[str, Any]:
    body = {"enable_ipv4": net["ipv4Enabled"], "enable_ipv6": net["ipv6Enabled"]}
    addresses = {"ipv4": net["ipv4"], "ipv6": net["ipv6"]}
    return body | {family: id_ for family, id_ in addresses.items() if id_}


def _image_id(operation: Operation["Hetzner"], wanted: str, architecture: str) -> int:
    cloud = operation.backend
    found = cloud.find(operation, f"/images/{wanted}", "image") if wanted.isdigit() else None
    if found is None:
        query = [
            ("architecture", architecture),
            ("include_deprecated", "true"),
            ("name", wanted),
        ]
        found = cloud.find_by_name(operation, "/images", "images", query)
    if found is None:
        raise PluginError(f"image {wanted} for architecture {architecture} not found")
    return int(found["id"])


def _ssh_key_id(operation: Operation["Hetzner"], wanted: str) -> int:
    found = operation.backend.find_by_id_or_name(operation, "/ssh_keys", "ssh_key", wanted)
    if found is None:
        raise PluginError(f"SSH key not found: {wanted}")
    return int(found["id"])
