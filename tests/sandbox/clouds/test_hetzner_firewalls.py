from typing import Any

import pytest
from hcloud import APIException
from hcloud.firewalls import FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.servers import Server

from tests.sandbox.clouds.hetzner_steps import Loose, make_server
from tests.sandbox.clouds.live import Live, call

ANYWHERE = ["0.0.0.0/0", "::/0"]
HTTPS = FirewallRule(direction="in", protocol="tcp", port="443", source_ips=ANYWHERE)


def on_server(server: Loose) -> FirewallResource:
    return FirewallResource(type="server", server=Server(id=server.id))


def by_label(selector: str) -> FirewallResource:
    label_selector = FirewallResourceLabelSelector(selector=selector)
    return FirewallResource(type="label_selector", label_selector=label_selector)


def firewalls_of(client: Loose, server: Loose) -> list[int]:
    net = client.servers.get_by_id(server.id).public_net
    assert all(entry.status == "applied" for entry in net.firewalls)
    return [entry.firewall.id for entry in net.firewalls]


def test_a_firewall_lives_from_create_to_delete(client: Loose) -> None:
    response = client.firewalls.create("web", rules=[HTTPS], labels={"tier": "web"})
    for action in response.actions:
        action.wait_until_finished()
    firewall = client.firewalls.get_by_id(response.firewall.id)
    assert (firewall.name, firewall.labels) == ("web", {"tier": "web"})
    assert firewall.rules == [HTTPS]

    firewall.update(name="web-2", labels={})
    assert client.firewalls.get_by_name("web-2").id == firewall.id

    firewall.delete()
    assert client.firewalls.get_all() == []


def test_rules_are_replaced(client: Loose) -> None:
    firewall = client.firewalls.create("web", rules=[HTTPS]).firewall
    ssh = FirewallRule(
        direction="in", protocol="tcp", port="22", source_ips=["203.0.113.0/24"], description="ssh"
    )
    for action in firewall.set_rules([ssh]):
        action.wait_until_finished()
    assert client.firewalls.get_by_id(firewall.id).rules == [ssh]
    firewall.set_rules([])
    assert client.firewalls.get_by_id(firewall.id).rules == []
    assert [a.command for a in firewall.get_actions()] == ["set_firewall_rules"] * 3


@pytest.mark.parametrize(
    "rule",
    [
        {"direction": "in", "protocol": "tcp", "source_ips": ANYWHERE},
        {"direction": "in", "protocol": "icmp", "port": "80", "source_ips": ANYWHERE},
        {"direction": "in", "protocol": "tcp", "port": "0", "source_ips": ANYWHERE},
        {"direction": "in", "protocol": "tcp", "port": "90-80", "source_ips": ANYWHERE},
        {"direction": "in", "protocol": "tcp", "port": "http", "source_ips": ANYWHERE},
        {"direction": "in", "protocol": "tcp", "port": "80", "source_ips": []},
        {"direction": "in", "protocol": "tcp", "port": "80", "source_ips": ["10.0.0.1/8"]},
        {"direction": "in", "protocol": "tcp", "port": "80", "source_ips": ["10.0.0.1"]},
        {"direction": "out", "protocol": "tcp", "port": "80", "source_ips": ANYWHERE},
        {"direction": "in", "protocol": "smtp", "port": "80", "source_ips": ANYWHERE},
        {"direction": "in", "protocol": "tcp", "port": "80", "source_ips": ["0.0.0.0/0"] * 101},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(live: Live, rule: dict[str, Any]) -> None:
    body = {"name": "web", "rules": [rule]}
    token = live.world.credentials.hetzner_token
    answer = call(live.url, "POST", "/v1/firewalls", body, token)
    assert (answer.status, answer.json["error"]["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("port", ["443", "80-90", "65535"])
def test_ports_and_ranges_are_taken(client: Loose, port: str) -> None:
    rule = FirewallRule(direction="in", protocol="udp", port=port, source_ips=ANYWHERE)
    assert client.firewalls.create("web", rules=[rule]).firewall.rules[0].port == port


def test_names_are_unique(client: Loose) -> None:
    client.firewalls.create("web")
    with pytest.raises(APIException) as error:
        client.firewalls.create("web")
    assert error.value.code == "uniqueness_error"


def test_a_server_can_have_a_firewall_from_the_start(client: Loose) -> None:
    firewall = client.firewalls.create("web", rules=[HTTPS]).firewall
    server = make_server(client, firewalls=[firewall])
    assert firewalls_of(client, server) == [firewall.id]
    applied = client.firewalls.get_by_id(firewall.id).applied_to
    assert [resource.server.id for resource in applied] == [server.id]


def test_a_firewall_is_applied_and_taken_off(client: Loose) -> None:
    server = make_server(client)
    firewall = client.firewalls.create("web").firewall
    actions = firewall.apply_to_resources([on_server(server)])
    assert {r["type"] for r in actions[0].resources} == {"firewall", "server"}
    assert firewalls_of(client, server) == [firewall.id]

    firewall.remove_from_resources([on_server(server)])
    assert firewalls_of(client, server) == []
    firewall.remove_from_resources([on_server(server)])


def test_a_firewall_is_applied_once(client: Loose) -> None:
    server = make_server(client)
    firewall = client.firewalls.create("web", resources=[on_server(server)]).firewall
    with pytest.raises(APIException) as error:
        firewall.apply_to_resources([on_server(server)])
    assert error.value.code == "firewall_already_applied"


def test_a_firewall_for_an_unknown_server_is_refused(client: Loose) -> None:
    with pytest.raises(APIException) as error:
        client.firewalls.create("web", resources=[on_server(Server(id=7))])
    assert error.value.code == "firewall_resource_not_found"
    assert client.firewalls.get_all() == []


def test_a_firewall_in_use_is_not_deleted(client: Loose) -> None:
    server = make_server(client)
    firewall = client.firewalls.create("web", resources=[on_server(server)]).firewall
    with pytest.raises(APIException) as error:
        firewall.delete()
    assert error.value.code == "resource_in_use"
    server.delete().wait_until_finished()
    assert not client.firewalls.get_by_id(firewall.id).applied_to
    firewall.delete()


def test_a_label_selector_covers_servers_as_they_come_and_go(client: Loose) -> None:
    firewall = client.firewalls.create("web", resources=[by_label("tier=web")]).firewall
    server = make_server(client, labels={"tier": "web"})
    assert firewalls_of(client, server) == [firewall.id]
    resource = client.firewalls.get_by_id(firewall.id).applied_to[0]
    assert resource.label_selector.selector == "tier=web"
    assert [r.server.id for r in resource.applied_to_resources] == [server.id]
    with pytest.raises(APIException) as error:
        firewall.remove_from_resources([on_server(server)])
    assert error.value.code == "firewall_managed_by_label_selector"

    server.update(labels={})
    assert firewalls_of(client, server) == []
    firewall.remove_from_resources([by_label("tier=web")])
    firewall.delete()
