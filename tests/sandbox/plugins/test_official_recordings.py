"""Requests, diffs and state agree with what was recorded of the official plugins."""

import dataclasses
from typing import Any

import pytest

from tests.sandbox.plugins import official
from tests.sandbox.plugins.bench import Bench, Clouds, Stack
from tests.sandbox.plugins.programs import PUBLIC_KEY, Erin, basics, signing_request

pytestmark = pytest.mark.engine

SERVER = "hcloud:index/server:Server"
KEY = "hcloud:index/sshKey:SshKey"
RECORD = "cloudflare:index/dnsRecord:DnsRecord"
FIREWALL = "hcloud:index/firewall:Firewall"
SNAPSHOT = "hcloud:index/snapshot:Snapshot"
CERTIFICATE = "cloudflare:index/originCaCertificate:OriginCaCertificate"


def names_of(stack: Stack, clouds: Clouds) -> dict[str, Any]:
    """Ids and names that were made at run time, by the recordings' words for them."""
    found: dict[str, Any] = {"zone": clouds.zone_id, "public_key": PUBLIC_KEY}
    ids = {"server": SERVER, "key": KEY, "record": RECORD, "firewall": FIREWALL}
    for word, type_ in (ids | {"snapshot": SNAPSHOT, "certificate": CERTIFICATE}).items():
        if type_ in stack.types():
            id_ = stack.resource(type_)["id"]
            found[word] = int(id_) if id_.isdigit() else id_
    return found


def test_a_key_a_server_and_a_record_live_as_recorded(bench: Bench, clouds: Clouds) -> None:
    recorded = official.load("official_requests.json")["basics"]
    stack = bench.stack("dave")

    assert stack.up(basics(clouds)).error == ""
    names = names_of(stack, clouds)
    key, server, record = stack.resource(KEY), stack.resource(SERVER), stack.resource(RECORD)
    names |= {
        "key_name": key["inputs"]["name"],
        "server_name": server["inputs"]["name"],
        "ip": stack.outputs["ip"],
    }
    official.assert_requests(clouds.requests(), recorded["up"], names)

    expected = official.load("official_state.json")
    texts = names | {word: str(names[word]) for word in ("key", "server", "record")}
    texts |= {
        "fingerprint": key["outputs"]["fingerprint"],
        "time": record["outputs"]["createdOn"],
        "ipv6": server["outputs"]["ipv6Address"],
        "ipv6_network": server["outputs"]["ipv6Network"],
    }
    for found, type_ in ((key, KEY), (server, SERVER), (record, RECORD)):
        wanted = official.filled(expected[type_], texts)
        if type_ == RECORD:
            wanted["inputs"]["name"] = wanted["outputs"]["name"] = "dave.clawdet.com"
            wanted["outputs"]["modifiedOn"] = found["outputs"]["modifiedOn"]
        assert {"inputs": found["inputs"], "outputs": found["outputs"]} == wanted

    assert stack.up(basics(clouds)).steps == {}
    assert clouds.requests() == recorded["no change"]

    assert stack.refresh().error == ""
    official.assert_requests(clouds.requests(), recorded["refresh"], names, ordered=False)

    assert stack.destroy().error == ""
    official.assert_requests(clouds.requests(), recorded["destroy"], names)


def test_a_server_deleted_by_hand_is_found_by_a_refresh_that_writes_nothing(
    bench: Bench, clouds: Clouds
) -> None:
    recorded = official.load("official_requests.json")["basics"]
    stack = bench.stack("dave")
    stack.up(basics(clouds))
    names = names_of(stack, clouds)
    clouds.hetzner("DELETE", f"/servers/{names['server']}")
    clouds.requests()
    before = stack.text

    drift = stack.drift()

    assert drift.steps == {SERVER: "delete"}
    wanted = recorded["server deleted by hand, refresh"]
    official.assert_requests(clouds.requests(), wanted, names, ordered=False)
    assert stack.text == before
    assert stack.refresh().error == ""
    assert SERVER not in stack.types()
    assert stack.destroy().error == ""


def test_the_recorded_scenarios_repeat(bench: Bench, clouds: Clouds) -> None:
    recorded = official.load("official_requests.json")
    stack = bench.stack("erin")
    erin = Erin(clouds, signing_request("erin.clawdet.com"))

    def sent_as(scenario: str, ordered: bool = True) -> None:
        names = names_of(stack, clouds)
        wanted = recorded["scenarios"][scenario]
        official.assert_requests(clouds.requests(), wanted, names, ordered)

    clouds.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=412)
    failed = stack.up(erin)
    assert "error during placement (resource_unavailable)" in failed.messages
    assert sorted(stack.types()) == sorted([FIREWALL, CERTIFICATE])
    sent_as("up, placement fails once", ordered=False)

    clouds.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=429)
    assert stack.up(erin).error == ""
    sent_as("up again, 429 once")
    assert stack.up(erin).steps == {}
    sent_as("no change")

    steps: list[tuple[str, Erin]] = []
    erin = dataclasses.replace(erin, release="2")
    steps.append(("labels changed", erin))
    erin = dataclasses.replace(erin, server_type="cpx32")
    steps.append(("server type changed", erin))
    erin = dataclasses.replace(erin, content="127.0.0.2")
    steps.append(("record content changed", erin))
    for scenario, program in steps:
        ran = stack.up(program)
        assert ran.error == ""
        assert ran.diffs == recorded["diffs"][scenario]
        sent_as(scenario)
    assert stack.resource(SERVER)["outputs"]["status"] == "off"

    erin = dataclasses.replace(erin, snapshot=True)
    assert stack.up(erin).steps == {SNAPSHOT: "create"}
    sent_as("snapshot added")

    server = f"/servers/{names_of(stack, clouds)['server']}"
    clouds.hetzner("PUT", server, {"labels": {"hand": "1"}})
    clouds.requests()
    drift = stack.drift()
    assert drift.diffs == recorded["diffs"]["drift: labels changed by hand"]
    sent_as("drift: labels changed by hand", ordered=False)

    record = names_of(stack, clouds)["record"]
    clouds.cloudflare("DELETE", f"/zones/{clouds.zone_id}/dns_records/{record}")
    assert stack.drift().steps[RECORD] == "delete"
    assert stack.refresh().error == ""
    clouds.requests()
    repaired = stack.up(erin)
    assert repaired.steps[RECORD] == "create"
    assert repaired.diffs == recorded["diffs"]["repair"]
    sent_as("repair")

    assert stack.destroy().error == ""
    for kind in ("servers", "firewalls", "ssh_keys"):
        assert clouds.hetzner("GET", f"/{kind}")[kind] == []
    images = clouds.hetzner("GET", "/images?type=snapshot")["images"]
    assert images == []
    records = clouds.cloudflare("GET", f"/zones/{clouds.zone_id}/dns_records")["result"]
    assert records == []
