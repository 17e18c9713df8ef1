"""`hcloud:index/rdns:Rdns`."""

import ipaddress
from typing import TYPE_CHECKING, Any

from sandbox.plugins.errors import PluginError
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Failure, Field
from sandbox.plugins.values import UNKNOWN, Props

if TYPE_CHECKING:
    from sandbox.plugins.hcloud.api import Hetzner

UNSUPPORTED = "the stand-in plugin sets reverse DNS of servers and primary IPs only"
OWNERS = {
    "s": ("serverId", "/servers", "server"),
    "p": ("primaryIpId", "/primary_ips", "primary_ip"),
}
"""By the first part of the resource's id: the input, the API's path and the answer's key."""


class Rdns(Resource["Hetzner"]):
    """The reverse DNS name of an address. Its id is `s-SERVER-ADDRESS` or `p-PRIMARY_IP-ADDRESS`.

    As the official plugin it is replaced for everything but `dnsPtr`, which the official schema
    does not show.
    """

    token = "hcloud:index/rdns:Rdns"
    fields = {
        "dnsPtr": Field("string", required=True),
        "floatingIpId": Field("number", replace=True, unsupported=UNSUPPORTED),
        "ipAddress": Field("string", required=True, replace=True),
        "loadBalancerId": Field("number", replace=True, unsupported=UNSUPPORTED),
        "primaryIpId": Field("number", replace=True),
        "serverId": Field("number", replace=True),
    }

    def check_more(self, inputs: Props) -> list[Failure]:
        """Exactly one owner, and an address that is one."""
        failures = []
        if sum(inputs.get(name) is not None for name, _, _ in OWNERS.values()) != 1:
            reason = "Exactly one of server_id, primary_ip_id must be configured"
            failures.append(Failure("serverId", reason))
        address = inputs["ipAddress"]
        if address is not UNKNOWN and not _is_address(address):
            failures.append(Failure("ipAddress", f"must be a valid ip, got: {address}"))
        return failures

    def create(self, operation: Operation["Hetzner"], inputs: Props) -> Live:
        """GET the owner, then change its name."""
        kind = next(kind for kind, (name, _, _) in OWNERS.items() if inputs.get(name) is not None)
        resource_id = f"{kind}-{inputs[OWNERS[kind][0]]}-{inputs['ipAddress']}"
        if _owner(operation, resource_id) is None:
            _, owner_id, _ = _parts(resource_id)
            raise PluginError(f"Resource ({OWNERS[kind][2]}) was not found: id={owner_id}")
        self._change(operation, resource_id, inputs["dnsPtr"])
        return _live(resource_id, inputs["dnsPtr"])

    def read(self, operation: Operation["Hetzner"], known: Known) -> Live | None:
        """GET the owner and find the address in it."""
        owner = _owner(operation, known.resource_id)
        pointer = _pointer(owner, _parts(known.resource_id)[2]) if owner else None
        return _live(known.resource_id, pointer) if pointer else None

    def update(self, operation: Operation["Hetzner"], known: Known, inputs: Props) -> Props:
        """Change the name."""
        self._change(operation, known.resource_id, inputs["dnsPtr"])
        return _live(known.resource_id, inputs["dnsPtr"]).outputs

    def delete(self, operation: Operation["Hetzner"], known: Known) -> None:
        """Go back to Hetzner's own name."""
        with operation.backend.gone_is_done():
            self._change(operation, known.resource_id, None)

    def _change(self, operation: Operation["Hetzner"], resource_id: str, name: str | None) -> None:
        kind, owner_id, address = _parts(resource_id)
        path = f"{OWNERS[kind][1]}/{owner_id}/actions/change_dns_ptr"
        operation.backend.act(operation, path, {"ip": address, "dns_ptr": name})


def _parts(resource_id: str) -> tuple[str, str, str]:
    kind, _, rest = resource_id.partition("-")
    owner_id, _, address = rest.partition("-")
    if kind not in OWNERS or not owner_id.isdigit() or not _is_address(address):
        raise PluginError(
            f"invalid id {resource_id}: expected s-SERVER_ID-ADDRESS or p-PRIMARY_IP_ID-ADDRESS"
        )
    return kind, owner_id, address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _owner(operation: Operation["Hetzner"], resource_id: str) -> dict[str, Any] | None:
    kind, owner_id, _ = _parts(resource_id)
    _, path, key = OWNERS[kind]
    return operation.backend.find(operation, f"{path}/{owner_id}", key)


def _pointer(owner: dict[str, Any], address: str) -> str | None:
    """The reverse DNS name an owner shows for an address."""
    networks = owner.get("public_net") or {}
    ipv4, ipv6 = networks.get("ipv4") or {}, networks.get("ipv6") or {}
    if ipv4.get("ip") == address:
        return ipv4.get("dns_ptr")
    listed = (ipv6.get("dns_ptr") or []) + (owner.get("dns_ptr") or [])
    wanted = ipaddress.ip_address(address)
    found = (one["dns_ptr"] for one in listed if ipaddress.ip_address(one["ip"]) == wanted)
    return next(found, None)


def _live(resource_id: str, pointer: str) -> Live:
    kind, owner_id, address = _parts(resource_id)
    outputs = {
        "dnsPtr": pointer,
        "id": resource_id,
        "ipAddress": address,
        OWNERS[kind][0]: int(owner_id),
    }
    return Live(resource_id, outputs)
