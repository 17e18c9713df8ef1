"""How a server looks to clients."""

from sandbox.clouds.hetzner import catalog
from sandbox.clouds.hetzner.catalog_views import datacenter
from sandbox.clouds.hetzner.cloud import FIREWALL, PRIMARY_IP, SERVER, Cloud, public
from sandbox.clouds.hetzner.firewalls import applies_to
from sandbox.clouds.store import Document


def view(cloud: Cloud, server: Document) -> Document:
    """The server as the vendor shows it; its status is what its machine says now."""
    location = server["_location"]
    return {
        **public(server),
        "status": status(cloud, server),
        "public_net": _public_net(cloud, server),
        "private_net": [],
        "server_type": cloud.server_type(server["server_type"]),
        "datacenter": datacenter(cloud, location),
        "location": catalog.location(location),
        "iso": None,
        "rescue_enabled": False,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "volumes": [],
        "load_balancers": [],
        "placement_group": None,
    }


def status(cloud: Cloud, server: Document) -> str:
    """Mid-action what the action is doing; else the machine's power state, which its guest may
    have changed by itself; "unknown" when there is no machine."""
    if server["_phase"]:
        return str(server["_phase"])
    return cloud.machines.state(server["id"]) or "unknown"


def addresses(cloud: Cloud, server: Document) -> list[Document]:
    """The server's primary IPs."""
    ids = (server["_ipv4"], server["_ipv6"])
    found = (cloud.store.get(PRIMARY_IP, id_) for id_ in ids if id_)
    return [address for address in found if address]


def name_is_taken(cloud: Cloud, name: str, own_id: int) -> bool:
    """Whether another server has the name."""
    servers = cloud.store.all(SERVER)
    return any(s["name"] == name and s["id"] != own_id for s in servers)


def _public_net(cloud: Cloud, server: Document) -> Document:
    net: Document = {"ipv4": None, "ipv6": None, "floating_ips": []}
    for address in addresses(cloud, server):
        names = address["dns_ptr"]
        if address["type"] == "ipv4":
            names = names[0]["dns_ptr"] if names else ""
        shown = {"id": address["id"], "ip": address["ip"], "blocked": False, "dns_ptr": names}
        net[address["type"]] = shown
    firewalls = cloud.store.all(FIREWALL)
    net["firewalls"] = [
        {"id": firewall["id"], "status": "applied"}
        for firewall in firewalls
        if applies_to(firewall, server)
    ]
    return net
