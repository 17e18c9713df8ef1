"""The sandbox's clouds, as an outsider looks at them, changes them and breaks them."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import cloudflare
import hcloud
from cloudflare.types.dns import RecordResponse
from hcloud.images import BoundImage, Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer

from sandbox.supervisor import Sandbox

PATIENCE_S = 60.0

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, timeout_s: float = PATIENCE_S) -> Found:
    """What `look` finds as soon as it is something; TimeoutError names `what` did not come."""
    ends = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} did not come within {timeout_s:.0f} s")
        time.sleep(0.1)
    return found


def address(server: BoundServer) -> str:
    """Its public IPv4 address."""
    assert server.public_net
    assert server.public_net.ipv4
    return str(server.public_net.ipv4.ip)


def type_of(server: BoundServer) -> str:
    """The name of its server type."""
    assert server.server_type
    return str(server.server_type.name)


def location_of(server: BoundServer) -> str:
    """The name of its location."""
    assert server.location
    return str(server.location.name)


class Outside:
    """Both clouds of a sandbox, and its admin API."""

    def __init__(self, sandbox: Sandbox) -> None:
        given = sandbox.environment()
        self._admin_url = sandbox.admin_url
        self.domain = given["CLAWDET_DOMAIN"]
        self.zone = given["CLOUDFLARE_ZONE_ID"]
        self.hetzner = hcloud.Client(
            given["HETZNER_API_TOKEN"], api_endpoint=given["HETZNER_ENDPOINT"], poll_interval=0.05
        )
        self.cloudflare = cloudflare.Cloudflare(
            api_token=given["CLOUDFLARE_API_TOKEN"], base_url=given["CLOUDFLARE_BASE_URL"]
        )
        self._since = 0

    # -- looking ---------------------------------------------------------------------------

    def servers(self) -> list[BoundServer]:
        return list(self.hetzner.servers.get_all())

    def server(self, slug: str) -> BoundServer:
        """The one server of that name or label; AssertionError if there are more or none."""
        found = [s for s in self.servers() if slug in (s.name, (s.labels or {}).get("instance"))]
        assert len(found) == 1, f"{slug} has {len(found)} servers"
        return found[0]

    def records(self, slug: str = "") -> list[RecordResponse]:
        found = list(self.cloudflare.dns.records.list(zone_id=self.zone))
        return [r for r in found if not slug or r.name == f"{slug}.{self.domain}"]

    def record(self, slug: str) -> RecordResponse:
        (found,) = self.records(slug)
        return found

    def certificates(self, slug: str = "") -> list[str]:
        """Ids of the certificates that are not revoked."""
        found = self.cloudflare.origin_ca_certificates.list(zone_id=self.zone)
        return [
            str(c.id)
            for c in found
            if getattr(c, "revoked_at", None) is None
            and (not slug or c.hostnames == [f"{slug}.{self.domain}"])
        ]

    def snapshots(self) -> list[BoundImage]:
        """Images made of servers."""
        return list(self.hetzner.images.get_all(type=["snapshot"]))

    def is_empty(self) -> bool:
        """No server, no record, no valid certificate."""
        return not (self.servers() or self.records() or self.certificates())

    def requests(self) -> list[str]:
        """ "METHOD path" of each request since `forget_requests`."""
        answer = self._admin("GET", f"/requests?since={self._since}")
        return [f"{one['method']} {one['path']}" for one in answer["requests"]]

    def changes(self) -> list[str]:
        """The requests that ask for a change."""
        return [one for one in self.requests() if not one.startswith("GET ")]

    def forget_requests(self) -> None:
        answer = self._admin("GET", f"/requests?since={self._since}")["requests"]
        self._since = answer[-1]["number"] if answer else self._since

    # -- changing --------------------------------------------------------------------------

    def delete_server(self, slug: str) -> None:
        self.server(slug).delete().wait_until_finished()

    def delete_record(self, slug: str) -> None:
        self.cloudflare.dns.records.delete(self.record(slug).id, zone_id=self.zone)

    def resize(self, slug: str, server_type: str) -> None:
        """As a person would in the console: off, another type, on."""
        server = self.server(slug)
        server.power_off().wait_until_finished()
        server.change_type(ServerType(name=server_type), upgrade_disk=False).wait_until_finished()
        server.power_on().wait_until_finished()

    def add_record(self, slug: str, content: str, comment: str = "") -> None:
        self.cloudflare.dns.records.create(
            zone_id=self.zone,
            type="A",
            name=f"{slug}.{self.domain}",
            content=content,
            ttl=120,
            comment=comment,
        )

    def edit_record(self, slug: str, content: str, proxied: bool) -> None:
        record = self.record(slug)
        self.cloudflare.dns.records.edit(
            record.id,
            zone_id=self.zone,
            type="A",
            name=record.name,
            ttl=1,
            content=content,
            proxied=proxied,
        )

    def add_server(self, name: str, labels: dict[str, str] | None = None) -> None:
        self.hetzner.servers.create(
            name=name,
            server_type=ServerType(name="cpx22"),
            image=Image(name="ubuntu-24.04"),
            location=Location(name="hel1"),
            labels=labels,
        ).action.wait_until_finished()

    # -- breaking --------------------------------------------------------------------------

    def fault(self, **rule: Any) -> None:
        """Add a rule (`sandbox.clouds.faults.Rule`)."""
        self._admin("POST", "/faults", rule)

    def mend(self) -> None:
        """Forget every rule."""
        self._admin("DELETE", "/faults")

    def slow_actions(self, seconds: float) -> None:
        """Hetzner's actions take at least that long from now on."""
        self._admin("PUT", "/hetzner/action-seconds", {"seconds": seconds})

    def stall(self) -> None:
        """Whoever asks next how an action goes on gets no answer for a long while."""
        self.fault(vendor="hetzner", method="GET", path="^/v1/actions", kind="timeout", delay_s=20)

    def sell_out(self, *locations: str, server_type: str = "cpx22") -> None:
        for location in locations:
            self._stock(server_type, location, False)

    def reset_stock(self) -> None:
        """Everything is to be had again."""
        for gone in self._admin("GET", "/hetzner/stock")["sold_out"]:
            self._stock(gone["server_type"], gone["location"], True)

    def reset(self) -> None:
        """As on the first day."""
        self.mend()
        self.slow_actions(0)
        self.reset_stock()
        for server in self.servers():
            until(lambda server=server: _deleted(server), f"the end of server {server.id}")  # type: ignore[misc]
        for image in self.snapshots():
            image.delete()
        for record in self.records():
            self.cloudflare.dns.records.delete(record.id, zone_id=self.zone)
        for certificate in self.certificates():
            self.cloudflare.origin_ca_certificates.delete(certificate)
        self.forget_requests()

    def _stock(self, server_type: str, location: str, available: bool) -> None:
        body = {"server_type": server_type, "location": location, "available": available}
        self._admin("PUT", "/hetzner/stock", body)

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._admin_url + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def _deleted(server: BoundServer) -> bool:
    """Delete it, unless an action that a test left running still locks it."""
    try:
        server.delete().wait_until_finished()
    except hcloud.APIException as error:
        if error.code != "locked":
            raise
        return False
    return True
