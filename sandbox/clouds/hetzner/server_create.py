"""Making a server: everything that is checked, and everything that is written down."""

from dataclasses import dataclass

from sandbox.clouds.hetzner import catalog, primary_ips
from sandbox.clouds.hetzner.catalog_views import datacenters
from sandbox.clouds.hetzner.cloud import FIREWALL, PRIMARY_IP, SERVER, SSH_KEY, Cloud, now
from sandbox.clouds.hetzner.errors import (
    ApiError,
    invalid_input,
    not_found,
    resource_unavailable,
    uniqueness_error,
)
from sandbox.clouds.hetzner.images import bootable
from sandbox.clouds.hetzner.inputs import IdOrName, find
from sandbox.clouds.hetzner.server_bodies import NewServer, PublicNet
from sandbox.clouds.hetzner.server_view import name_is_taken
from sandbox.clouds.store import Document
from sandbox.machines.driver import MachineError


@dataclass(frozen=True)
class Plan:
    """A server that can be made: references resolved, nothing written yet."""

    body: NewServer
    server_type: Document
    image: Document
    location: str
    ssh_keys: tuple[str, ...]
    firewalls: tuple[Document, ...]
    net: PublicNet


def plan(cloud: Cloud, body: NewServer) -> Plan:
    """Check a request. Raises ApiError with what the vendor would answer."""
    server_type = find_type(cloud, body.server_type)
    image = bootable(cloud, body.image, server_type["architecture"], server_type["disk"])
    _refuse_what_is_not_here(body)
    if name_is_taken(cloud, body.name, 0):
        raise uniqueness_error("server name is already used", "name")
    return Plan(
        body=body,
        server_type=server_type,
        image=image,
        location=_place(cloud, body, server_type),
        ssh_keys=_ssh_keys(cloud, body.ssh_keys or []),
        firewalls=tuple(cloud.must_get(FIREWALL, f.firewall) for f in body.firewalls or ()),
        net=_net(cloud, body.public_net or PublicNet()),
    )


def write(cloud: Cloud, plan: Plan) -> Document:
    """Keep the planned server, its addresses and its firewalls; call inside a transaction."""
    id_ = cloud.new_id()
    ipv4, ipv6 = _addresses(cloud, plan, id_)
    start = plan.body.start_after_create is not False
    server = {
        "id": id_,
        "name": plan.body.name,
        "created": now(),
        "server_type": plan.server_type["name"],
        "image": plan.image,
        "locked": True,
        "backup_window": None,
        "included_traffic": _included_traffic(plan),
        "protection": {"delete": False, "rebuild": False},
        "labels": plan.body.labels or {},
        "primary_disk_size": plan.server_type["disk"],
        "_location": plan.location,
        "_phase": "initializing",
        "_ipv4": ipv4,
        "_ipv6": ipv6,
        "_start": start,
        "_ssh_keys": list(plan.ssh_keys),
        "_user_data": plan.body.user_data or "",
    }
    cloud.store.put(SERVER, id_, server)
    for firewall in plan.firewalls:
        entry = {"type": "server", "server": {"id": id_}}
        applied = [*firewall["_apply_to"], entry]
        cloud.store.put(FIREWALL, firewall["id"], {**firewall, "_apply_to": applied})
    return server


def find_type(cloud: Cloud, reference: IdOrName) -> Document:
    """A server type by id or name. Raises ApiError not_found."""
    found = find(cloud.server_types(), reference)
    if found is None:
        raise ApiError(404, "not_found", "server type not found")
    return found


def check_stock(server_type: Document, location: str) -> None:
    """Raises ApiError: invalid_input where the location never has the type, resource_unavailable
    where it has none now."""
    offers = {offer["name"]: offer["available"] for offer in server_type["locations"]}
    if location not in offers:
        raise invalid_input({"server_type": ["unsupported location for server type"]})
    if not offers[location]:
        raise resource_unavailable()


def _place(cloud: Cloud, body: NewServer, server_type: Document) -> str:
    if body.location is not None and body.datacenter is not None:
        raise invalid_input({"location": ["location and datacenter exclude each other"]})
    if body.datacenter is not None:
        found = find(datacenters(cloud), body.datacenter)
        location = found["location"] if found else None
    elif body.location is not None:
        location = find(catalog.LOCATIONS, body.location)
    else:
        return _any_place(server_type)
    if location is None:
        field = "location" if body.datacenter is None else "datacenter"
        raise invalid_input({field: ["does not exist"]})
    check_stock(server_type, location["name"])
    return str(location["name"])


def _any_place(server_type: Document) -> str:
    for offer in server_type["locations"]:
        if offer["available"]:
            return str(offer["name"])
    raise resource_unavailable()


def _refuse_what_is_not_here(body: NewServer) -> None:
    """The sandbox has no volumes, networks or placement groups, so none is ever found."""
    for what, ids in (("volume", body.volumes), ("network", body.networks)):
        if ids:
            raise not_found(what, ids[0])
    if body.placement_group is not None:
        raise not_found("placement group", body.placement_group)


def _ssh_keys(cloud: Cloud, references: list[IdOrName]) -> tuple[str, ...]:
    known = cloud.store.all(SSH_KEY)
    keys = []
    for reference in references:
        key = find(known, reference)
        if key is None:
            raise not_found("SSH key", reference)
        keys.append(key["public_key"])
    return tuple(keys)


def _net(cloud: Cloud, net: PublicNet) -> PublicNet:
    for id_ in (net.ipv4, net.ipv6):
        if id_ is not None:
            cloud.must_get(PRIMARY_IP, id_)
            message = f"primary IP with ID '{id_}' is already assigned"
            raise ApiError(409, "primary_ip_assigned", message)
    if not (net.enable_ipv4 or net.enable_ipv6):
        raise invalid_input({"public_net": ["a server without networks needs a public IP"]})
    return net


def _addresses(cloud: Cloud, plan: Plan, server_id: int) -> tuple[int | None, int | None]:
    ipv4 = ipv6 = None
    if plan.net.enable_ipv4:
        try:
            ip = cloud.machines.address(server_id)
        except MachineError as error:
            raise ApiError(403, "resource_limit_exceeded", str(error)) from error
        ipv4 = primary_ips.add(cloud, server_id, plan.location, "ipv4", ip)
    if plan.net.enable_ipv6:
        network = primary_ips.ipv6_network(server_id)
        ipv6 = primary_ips.add(cloud, server_id, plan.location, "ipv6", network)
    return ipv4, ipv6


def _included_traffic(plan: Plan) -> int:
    prices = plan.server_type["prices"]
    return next(int(p["included_traffic"]) for p in prices if p["location"] == plan.location)
