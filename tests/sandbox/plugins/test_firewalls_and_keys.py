"""Firewalls and SSH keys changed in place."""

from collections.abc import Callable

import pulumi
import pulumi_hcloud as hcloud
import pytest

from tests.sandbox.plugins.bench import Bench, Clouds
from tests.sandbox.plugins.programs import PUBLIC_KEY, hetzner_provider

pytestmark = pytest.mark.engine

FIREWALL = "hcloud:index/firewall:Firewall"
KEY = "hcloud:index/sshKey:SshKey"
SERVER = "hcloud:index/server:Server"


def firewall_program(clouds: Clouds, port: str, applied: bool) -> Callable[[], None]:
    """A server, and a firewall on servers with the label `web`."""

    def program() -> None:
        options = pulumi.ResourceOptions(provider=hetzner_provider(clouds))
        rule = hcloud.FirewallRuleArgs(
            direction="in", protocol="tcp", port=port, source_ips=["0.0.0.0/0"]
        )
        target = hcloud.FirewallApplyToArgs(label_selector="web")
        hcloud.Firewall(
            "fw",
            rules=[rule],
            labels={"port": port},
            apply_tos=[target] if applied else None,
            opts=options,
        )

    return program


def test_rules_labels_and_targets_of_a_firewall_change_in_place(
    bench: Bench, clouds: Clouds
) -> None:
    stack = bench.stack("fw")
    assert stack.up(firewall_program(clouds, "80", applied=False)).error == ""
    assert stack.up(firewall_program(clouds, "443", applied=True)).steps == {FIREWALL: "update"}
    (firewall,) = clouds.hetzner("GET", "/firewalls")["firewalls"]
    assert [rule["port"] for rule in firewall["rules"]] == ["443"]
    assert firewall["labels"] == {"port": "443"}
    assert [one["label_selector"] for one in firewall["applied_to"]] == [{"selector": "web"}]
    assert stack.up(firewall_program(clouds, "443", applied=True)).steps == {}
    assert stack.refresh().steps == {}
    assert stack.destroy().error == ""
    assert clouds.hetzner("GET", "/firewalls")["firewalls"] == []


def test_a_firewall_is_put_on_a_server_and_taken_off_again(bench: Bench, clouds: Clouds) -> None:
    stack = bench.stack("on")

    def program(on: bool) -> Callable[[], None]:
        def made() -> None:
            options = pulumi.ResourceOptions(provider=hetzner_provider(clouds))
            firewall = hcloud.Firewall("fw", opts=options)
            hcloud.Server(
                "vps",
                server_type="cpx22",
                image="ubuntu-24.04",
                location="fsn1",
                firewall_ids=[firewall.id.apply(int)] if on else [],
                opts=options,
            )

        return made

    assert stack.up(program(False)).error == ""
    for on in (True, False):
        assert stack.up(program(on)).steps == {SERVER: "update"}
        (server,) = clouds.hetzner("GET", "/servers")["servers"]
        assert len(server["public_net"]["firewalls"]) == int(on)
        assert stack.up(program(on)).steps == {}
    assert stack.destroy().error == ""


def test_a_key_changes_its_labels_in_place_and_is_replaced_for_another_text(
    bench: Bench, clouds: Clouds
) -> None:
    stack = bench.stack("key")

    def program(comment: str, **labels: str) -> Callable[[], None]:
        def made() -> None:
            options = pulumi.ResourceOptions(provider=hetzner_provider(clouds))
            text = PUBLIC_KEY.replace("FDj", comment)
            hcloud.SshKey("key", name="ours", public_key=text, labels=labels, opts=options)

        return made

    assert stack.up(program("FDj")).error == ""
    assert stack.up(program("FDj", of="alice")).steps == {KEY: "update"}
    assert clouds.hetzner("GET", "/ssh_keys")["ssh_keys"][0]["labels"] == {"of": "alice"}
    replaced = stack.up(program("FDk", of="alice"))
    assert replaced.error == ""
    assert len(clouds.hetzner("GET", "/ssh_keys")["ssh_keys"]) == 1
