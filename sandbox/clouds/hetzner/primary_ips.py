"""Primary IPs: the public addresses of servers.

Every address here belongs to a server's machine, so it comes and goes with the server: there is
no creating, assigning or keeping one.
"""

import ipaddress

from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from sandbox.clouds.hetzner import catalog
from sandbox.clouds.hetzner.actions import Actions
from sandbox.clouds.hetzner.catalog_views import datacenter
from sandbox.clouds.hetzner.cloud import PRIMARY_IP, Cloud, now, public
from sandbox.clouds.hetzner.errors import ApiError, invalid_input, protected, uniqueness_error
from sandbox.clouds.hetzner.images import ImageProtection
from sandbox.clouds.hetzner.inputs import Body, Hostname, LabelMap, Name, read_body
from sandbox.clouds.hetzner.listing import answer_list, narrowed
from sandbox.clouds.hetzner.routes import Routes
from sandbox.clouds.store import Document


class Change(Body):
    """The body of PUT /primary_ips/ID."""

    name: Name | None = None
    labels: LabelMap | None = None
    auto_delete: bool | None = None


class DnsPtr(Body):
    """The body of change_dns_ptr, of servers too; null resets to the default."""

    ip: str
    dns_ptr: Hostname | None


class PrimaryIps:
    """The verbs of /primary_ips that make sense here, and their actions."""

    def __init__(self, cloud: Cloud, actions: Actions) -> None:
        self._cloud = cloud
        self._actions = actions

    def routes(self) -> Routes:
        """The endpoints."""
        one = "/primary_ips/<int:id_>"
        return [
            ("GET", "/primary_ips", self.list_all),
            ("GET", one, self.get),
            ("PUT", one, self.update),
            ("DELETE", one, self.delete),
            ("POST", f"{one}/actions/change_protection", self.change_protection),
            ("POST", f"{one}/actions/change_dns_ptr", self.change_dns_ptr),
        ]

    def list_all(self) -> Response:
        """Addresses, by name, ip or labels."""
        shown = [self._view(a) for a in self._cloud.store.all(PRIMARY_IP)]
        return answer_list("primary_ips", narrowed(shown, "name", "ip"))

    def get(self, id_: int) -> Response:
        """One address."""
        return self._answer(self._cloud.must_get(PRIMARY_IP, id_))

    def update(self, id_: int) -> Response:
        """Change name or labels."""
        body = read_body(Change)
        if body.auto_delete is False:
            message = "a primary IP of the sandbox cannot outlive its server"
            raise ApiError(422, "unsupported_error", message)
        with self._cloud.store.transaction():
            address = self._cloud.must_get(PRIMARY_IP, id_)
            address |= body.model_dump(exclude_none=True)
            others = (a for a in self._cloud.store.all(PRIMARY_IP) if a["id"] != id_)
            if any(other["name"] == address["name"] for other in others):
                raise uniqueness_error("primary IP name is already used", "name")
            self._cloud.store.put(PRIMARY_IP, id_, address)
        return self._answer(address)

    def delete(self, id_: int) -> ResponseReturnValue:
        """Refused: the address is its server's as long as the server is."""
        address = self._cloud.must_get(PRIMARY_IP, id_)
        if address["protection"]["delete"]:
            raise protected("primary IP")
        message = f"primary IP with ID '{id_}' is assigned to a server"
        raise ApiError(409, "resource_in_use", message)

    def change_protection(self, id_: int) -> ResponseReturnValue:
        """Forbid or allow deleting."""
        body = read_body(ImageProtection)
        with self._cloud.store.transaction():
            address = self._cloud.must_get(PRIMARY_IP, id_)
            if body.delete is not None:
                address["protection"] = {"delete": body.delete}
            self._cloud.store.put(PRIMARY_IP, id_, address)
        return self._acted("change_protection", address)

    def change_dns_ptr(self, id_: int) -> ResponseReturnValue:
        """Set or reset the reverse DNS name of the address or of one in the network."""
        body = read_body(DnsPtr)
        with self._cloud.store.transaction():
            address = self._cloud.must_get(PRIMARY_IP, id_)
            set_dns_ptr(self._cloud, [address], body)
        return self._acted("change_dns_ptr", address)

    def _acted(self, command: str, address: Document) -> ResponseReturnValue:
        action = self._actions.at_once(command, ("primary_ip", address["id"]))
        return jsonify({"action": self._actions.view(action)}), 201

    def _answer(self, address: Document) -> Response:
        return jsonify({"primary_ip": self._view(address)})

    def _view(self, address: Document) -> Document:
        location = address["_location"]
        return {
            **public(address),
            "location": catalog.location(location),
            "datacenter": datacenter(self._cloud, location),
        }


def add(cloud: Cloud, server_id: int, location: str, type_: str, ip: str) -> int:
    """Keep a new address of a server; its id. Call inside a transaction."""
    id_ = cloud.new_id()
    address = {
        "id": id_,
        "name": f"primary_ip-{id_}",
        "type": type_,
        "ip": ip,
        "assignee_id": server_id,
        "assignee_type": "server",
        "auto_delete": True,
        "blocked": False,
        "created": now(),
        "labels": {},
        "protection": {"delete": False},
        "dns_ptr": [{"ip": ip, "dns_ptr": default_name(ip)}] if type_ == "ipv4" else [],
        "_location": location,
    }
    cloud.store.put(PRIMARY_IP, id_, address)
    return id_


def ipv6_network(server_id: int) -> str:
    """A server's own /64 in the range for documentation (RFC 3849)."""
    high, low = divmod(server_id, 2**16)
    return str(ipaddress.ip_network(f"2001:db8:{high:x}:{low:x}::/64"))


def default_name(ipv4: str) -> str:
    """The reverse DNS name that the vendor gives an address."""
    return f"static.{'.'.join(reversed(ipv4.split('.')))}.clients.your-server.de"


def set_dns_ptr(cloud: Cloud, addresses: list[Document], body: DnsPtr) -> None:
    """Change the reverse DNS name of `body.ip`, which must be one of the addresses'.

    Call inside a transaction. Raises ApiError invalid_input.
    """
    try:
        ip = ipaddress.ip_address(body.ip)
    except ValueError as error:
        raise invalid_input({"ip": ["is not an IP address"]}) from error
    for address in addresses:
        network = ipaddress.ip_network(address["ip"])
        if ip.version != network.version or ip not in network:
            continue
        others = [e for e in address["dns_ptr"] if e["ip"] != str(ip)]
        name = body.dns_ptr or (default_name(str(ip)) if ip.version == 4 else None)
        new = [{"ip": str(ip), "dns_ptr": name}] if name else []
        cloud.store.put(PRIMARY_IP, address["id"], {**address, "dns_ptr": others + new})
        return
    raise invalid_input({"ip": ["does not belong to this resource"]})
