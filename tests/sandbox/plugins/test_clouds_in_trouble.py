"""The cloud plugins when something goes wrong, is gone, was there before, or is shared."""

import threading
import time
from typing import Any

import pulumi
import pulumi_cloudflare as cloudflare
import pulumi_hcloud as hcloud
import pytest

from tests.sandbox.plugins.bench import Bench, Clouds, Ran
from tests.sandbox.plugins.programs import (
    PUBLIC_KEY,
    basics,
    cloudflare_provider,
    hetzner_provider,
)

pytestmark = pytest.mark.engine

SERVER = "hcloud:index/server:Server"
KEY = "hcloud:index/sshKey:SshKey"
RECORD = "cloudflare:index/dnsRecord:DnsRecord"


def posts(clouds: Clouds, path: str) -> int:
    """How many POSTs to a path were seen since the last look."""
    return sum(one[:2] == ("POST", path) for one in clouds.requests())


def server_program(clouds: Clouds, **inputs: Any) -> Any:
    """A program with one server."""

    def program() -> None:
        given = {"name": "erin", "server_type": "cpx22", "image": "ubuntu-24.04", **inputs}
        opts = given.pop("opts", pulumi.ResourceOptions())
        opts.provider = hetzner_provider(clouds)
        hcloud.Server("vps", location="fsn1", opts=opts, **given)

    return program


def test_a_create_whose_answer_was_lost_is_not_repeated(bench: Bench, clouds: Clouds) -> None:
    clouds.fault(vendor="hetzner", method="POST", path="^/v1/servers$", kind="lost_response")
    failed = bench.stack("lost").up(server_program(clouds))
    assert "no answer from Hetzner Cloud" in failed.messages
    assert posts(clouds, "/v1/servers") == 1
    assert len(clouds.hetzner("GET", "/servers")["servers"]) == 1


def test_a_record_whose_answer_was_lost_is_not_repeated(bench: Bench, clouds: Clouds) -> None:
    path = f"/client/v4/zones/{clouds.zone_id}/dns_records"
    clouds.fault(vendor="cloudflare", method="POST", path=path, kind="lost_response")
    failed = bench.stack("lost").up(basics(clouds))
    assert "no answer from Cloudflare" in failed.messages
    assert posts(clouds, path) == 1
    assert len(clouds.cloudflare("GET", f"/zones/{clouds.zone_id}/dns_records")["result"]) == 1


def test_a_refused_request_is_repeated_after_about_a_second(bench: Bench, clouds: Clouds) -> None:
    path = f"/client/v4/zones/{clouds.zone_id}/dns_records"
    clouds.fault(vendor="cloudflare", method="POST", path=path, status=429)
    began = time.monotonic()
    assert bench.stack("busy").up(basics(clouds)).error == ""
    assert time.monotonic() - began > 1
    assert posts(clouds, path) == 2


def test_a_server_whose_start_failed_stays_in_the_state(bench: Bench, clouds: Clouds) -> None:
    clouds.fault(vendor="hetzner", method="GET", path=r"^/v1/servers/\d+$", status=500)
    stack = bench.stack("half")
    assert stack.up(server_program(clouds)).error
    assert stack.types() == [SERVER]
    assert stack.up(server_program(clouds)).error == ""
    assert len(clouds.hetzner("GET", "/servers")["servers"]) == 1


def test_a_wrong_token_is_shown_as_the_cloud_says_it(bench: Bench, clouds: Clouds) -> None:
    def program() -> None:
        provider = hetzner_provider(clouds, token="x" * 64)
        options = pulumi.ResourceOptions(provider=provider)
        hcloud.SshKey("key", public_key=PUBLIC_KEY, opts=options)

    failed = bench.stack("stranger").up(program)
    assert "(unauthorized)" in failed.messages
    assert "x" * 64 not in failed.messages + failed.error


def test_an_unknown_server_type_is_named(bench: Bench, clouds: Clouds) -> None:
    failed = bench.stack("type").up(server_program(clouds, server_type="cpx99"))
    assert "server type cpx99 not found" in failed.messages


def test_deleting_what_is_gone_already_is_no_error(bench: Bench, clouds: Clouds) -> None:
    stack = bench.stack("gone")
    stack.up(basics(clouds))
    for type_, path in ((SERVER, "servers"), (KEY, "ssh_keys")):
        clouds.hetzner("DELETE", f"/{path}/{stack.resource(type_)['id']}")
    record = stack.resource(RECORD)["id"]
    clouds.cloudflare("DELETE", f"/zones/{clouds.zone_id}/dns_records/{record}")
    assert stack.destroy().error == ""
    assert stack.types() == []


def test_a_server_made_elsewhere_is_adopted_by_an_import(bench: Bench, clouds: Clouds) -> None:
    body = {
        "name": "erin",
        "server_type": "cpx22",
        "image": "ubuntu-24.04",
        "location": "fsn1",
        "labels": {"instance": "erin"},
    }
    made = clouds.hetzner("POST", "/servers", body)["server"]
    stack = bench.stack("adopt")
    hidden = ["userData", "sshKeys", "image"]

    def program() -> Any:
        options = pulumi.ResourceOptions(import_=str(made["id"]), ignore_changes=hidden)
        return server_program(
            clouds, labels={"instance": "erin"}, user_data="#cloud-config\n", opts=options
        )

    adopted = stack.up(program())
    assert adopted.error == ""
    assert adopted.steps[SERVER] == "import"
    assert stack.up(program()).steps == {}
    assert posts(clouds, "/v1/servers") == 1  # ours, by hand


def test_a_record_made_elsewhere_is_adopted_by_zone_and_id(bench: Bench, clouds: Clouds) -> None:
    body = {"name": "erin.clawdet.com", "type": "A", "content": "127.0.0.1", "proxied": True}
    zone = f"/zones/{clouds.zone_id}/dns_records"
    made = clouds.cloudflare("POST", zone, {**body, "ttl": 1})["result"]
    stack = bench.stack("adopt")

    def program() -> None:
        cloudflare.DnsRecord(
            "record",
            zone_id=clouds.zone_id,
            name="erin.clawdet.com",
            type="A",
            content="127.0.0.1",
            proxied=True,
            ttl=1,
            opts=pulumi.ResourceOptions(
                provider=cloudflare_provider(clouds), import_=f"{clouds.zone_id}/{made['id']}"
            ),
        )

    assert stack.up(program).error == ""
    assert stack.resource(RECORD)["id"] == made["id"]


def test_changes_in_place_are_made_and_undone(bench: Bench, clouds: Clouds) -> None:
    stack = bench.stack("change")
    assert stack.up(server_program(clouds)).error == ""
    changed = server_program(
        clouds, name="anna", backups=True, delete_protection=True, rebuild_protection=True
    )
    assert stack.up(changed).steps == {SERVER: "update"}
    (server,) = clouds.hetzner("GET", "/servers")["servers"]
    assert server["name"] == "anna"
    assert server["backup_window"]
    assert server["protection"] == {"delete": True, "rebuild": True}
    assert stack.up(server_program(clouds)).steps == {SERVER: "update"}
    assert stack.refresh().steps == {}
    assert stack.destroy().error == ""


def test_a_reverse_name_lives_with_its_server(bench: Bench, clouds: Clouds) -> None:
    stack = bench.stack("rdns")

    def program(name: str) -> Any:
        def made() -> None:
            options = pulumi.ResourceOptions(provider=hetzner_provider(clouds))
            server = hcloud.Server(
                "vps", server_type="cpx22", image="ubuntu-24.04", location="fsn1", opts=options
            )
            hcloud.Rdns(
                "name",
                server_id=server.id.apply(int),
                ip_address=server.ipv4_address,
                dns_ptr=name,
                opts=options,
            )

        return made

    assert stack.up(program("one.clawdet.com")).error == ""
    assert stack.up(program("two.clawdet.com")).steps == {"hcloud:index/rdns:Rdns": "update"}
    (server,) = clouds.hetzner("GET", "/servers")["servers"]
    assert server["public_net"]["ipv4"]["dns_ptr"] == "two.clawdet.com"
    assert stack.refresh().steps == {}
    assert stack.destroy().error == ""


def test_engines_that_share_one_plugin_process_keep_their_own_settings(
    bench: Bench, clouds: Clouds, other_clouds: Clouds
) -> None:
    """Two stacks at once, each with its own endpoint and token."""
    stacks = {"one": clouds, "two": other_clouds}
    made = {name: bench.stack(name) for name in stacks}
    ran: dict[str, Ran] = {}

    def up(name: str) -> None:
        ran[name] = made[name].up(basics(stacks[name]))

    threads = [threading.Thread(target=up, args=(name,)) for name in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [ran[name].error for name in stacks] == ["", ""]
    for name, cloud in stacks.items():
        (server,) = cloud.hetzner("GET", "/servers")["servers"]
        assert str(server["id"]) == made[name].resource(SERVER)["id"]
        records = cloud.cloudflare("GET", f"/zones/{cloud.zone_id}/dns_records")["result"]
        assert [record["id"] for record in records] == [made[name].resource(RECORD)["id"]]
