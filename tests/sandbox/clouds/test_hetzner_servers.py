import ipaddress
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hcloud import APIException
from hcloud.actions import ActionFailedException
from hcloud.firewalls import Firewall
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork
from hcloud.ssh_keys import SSHKey

from sandbox.clouds.world import World
from tests.sandbox.clouds.conftest import Admin
from tests.sandbox.clouds.hetzner_steps import Loose, make_server, new_public_key, order_server
from tests.sandbox.clouds.live import Live, call


def test_a_new_server_is_announced_then_running(client: Loose, world: World) -> None:
    response = order_server(client, location=Location(name="hel1"), labels={"instance": "alice"})

    assert response.action.command == "create_server"
    assert [action.command for action in response.next_actions] == ["start_server"]
    response.next_actions[0].wait_until_finished()
    server = client.servers.get_by_id(response.server.id)
    assert (server.name, server.status, server.locked) == ("alice", "running", False)
    assert server.labels == {"instance": "alice"}
    assert (server.server_type.name, server.image.name) == ("cpx22", "ubuntu-24.04")
    assert (server.location.name, server.primary_disk_size) == ("hel1", 80)
    assert world.machines.state(server.id) == "running"


def test_a_server_has_its_machines_address_and_a_network_for_documentation(
    client: Loose, world: World
) -> None:
    server = make_server(client)

    assert server.public_net.ipv4.ip == world.machines.address(server.id)
    assert server.public_net.ipv4.dns_ptr.endswith(".clients.your-server.de")
    network = ipaddress.IPv6Network(server.public_net.ipv6.ip)
    assert network.subnet_of(ipaddress.IPv6Network("2001:db8::/32")) and network.prefixlen == 64


def test_servers_get_networks_of_their_own(client: Loose) -> None:
    servers = [make_server(client, name) for name in ("alice", "bob")]
    assert len({server.public_net.ipv6.ip for server in servers}) == 2
    assert len({server.public_net.ipv4.ip for server in servers}) == 2


def test_a_server_can_do_without_ipv4(client: Loose) -> None:
    net = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=True)
    server = make_server(client, public_net=net)
    assert server.public_net.ipv4 is None
    assert len(client.primary_ips.get_all()) == 1


def test_a_server_can_be_left_off(client: Loose) -> None:
    response = order_server(client, start_after_create=False)
    response.action.wait_until_finished()
    assert response.next_actions == []
    assert client.servers.get_by_id(response.server.id).status == "off"


def test_a_root_password_is_made_only_without_keys(client: Loose) -> None:
    key = client.ssh_keys.create("laptop", new_public_key())
    assert order_server(client, "alice").root_password
    assert order_server(client, "bob", ssh_keys=[key]).root_password is None


def test_ssh_keys_are_found_by_name_too(client: Loose) -> None:
    client.ssh_keys.create("laptop", new_public_key())
    assert order_server(client, ssh_keys=[SSHKey(name="laptop")]).root_password is None


def test_user_data_is_never_shown(client: Loose, live: Live) -> None:
    server = make_server(client, user_data="#cloud-config\n# very private\n")
    token = live.world.credentials.hetzner_token
    for path in (f"/v1/servers/{server.id}", "/v1/servers", "/v1/servers/actions"):
        assert "very private" not in call(live.url, "GET", path, token=token).text


def test_user_data_may_have_32_kib_and_no_more(client: Loose) -> None:
    make_server(client, user_data="x" * 32768)
    with pytest.raises(APIException, match="user_data") as error:
        order_server(client, "bob", user_data="x" * 32769)
    assert error.value.code == "invalid_input"


@pytest.mark.parametrize("name", ["", "a_b", "-a", "a-", "a b", "a" * 64, "ä", "a..b"])
def test_a_server_name_must_be_a_hostname(client: Loose, name: str) -> None:
    with pytest.raises(APIException) as error:
        order_server(client, name)
    assert error.value.code == "invalid_input"
    assert [field["name"] for field in error.value.details["fields"]] == ["name"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"server_type": ServerType(name="cpx99")}, "not_found"),
        ({"image": Image(name="plan-9")}, "not_found"),
        ({"image": Image(name="ubuntu-20.04")}, "invalid_input"),
        ({"image": Image(id=161547270)}, "invalid_input"),
        ({"location": Location(name="mars")}, "invalid_input"),
        ({"location": Location(name="ash")}, "invalid_input"),
        ({"ssh_keys": [SSHKey(id=7)]}, "not_found"),
        ({"firewalls": [Firewall(id=7)]}, "not_found"),
        ({"labels": {"no space": "x"}}, "invalid_input"),
        ({"labels": {"ok": "no space"}}, "invalid_input"),
        ({"public_net": ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)},
         "invalid_input"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_is_refused(
    client: Loose, change: dict[str, Any], code: str
) -> None:
    with pytest.raises(APIException) as error:
        order_server(client, **change)
    assert error.value.code == code
    assert client.servers.get_all() == []


def test_a_name_is_given_once(client: Loose) -> None:
    make_server(client, "alice")
    with pytest.raises(APIException) as error:
        order_server(client, "alice")
    assert error.value.code == "uniqueness_error"
    assert error.value.details["fields"] == [{"name": "name"}]


def test_a_location_without_stock_refuses_and_another_takes_the_order(
    client: Loose, live: Live, admin: Admin
) -> None:
    stock = {"server_type": "cpx22", "location": "fsn1", "available": False}
    assert admin("PUT", "/hetzner/stock", stock).status == 200

    order = {"name": "alice", "server_type": "cpx22", "image": "ubuntu-24.04", "location": "fsn1"}
    token = live.world.credentials.hetzner_token
    refused = call(live.url, "POST", "/v1/servers", order, token)

    assert refused.status == 412
    assert refused.json["error"]["code"] == "resource_unavailable"
    assert refused.json["error"]["message"] == "error during placement"
    assert make_server(client, location=Location(name="nbg1")).location.name == "nbg1"


def test_without_a_location_one_with_stock_is_taken(client: Loose, admin: Admin) -> None:
    for location in ("fsn1", "nbg1"):
        stock = {"server_type": "cpx22", "location": location, "available": False}
        admin("PUT", "/hetzner/stock", stock)
    assert make_server(client).location.name == "hel1"


def test_twenty_orders_at_once_make_twenty_servers(client: Loose) -> None:
    names = [f"server-{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda name: make_server(client, name), names))
    assert len({server.id for server in made}) == 20
    assert len({server.public_net.ipv4.ip for server in made}) == 20
    assert sorted(server.name for server in client.servers.get_all()) == sorted(names)
    assert {server.status for server in client.servers.get_all()} == {"running"}


def test_of_ten_orders_at_once_under_one_name_exactly_one_is_taken(client: Loose) -> None:
    def order(_: int) -> str:
        try:
            order_server(client, "alice")
        except APIException as error:
            return str(error.code)
        return "made"

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(order, range(10)))
    assert sorted(results) == ["made"] + ["uniqueness_error"] * 9
    assert len(client.servers.get_all()) == 1


def test_name_and_labels_can_be_changed(client: Loose) -> None:
    server = make_server(client)
    server.update(name="bob", labels={"release": "2"})
    changed = client.servers.get_by_id(server.id)
    assert (changed.name, changed.labels) == ("bob", {"release": "2"})


def test_changing_labels_leaves_the_name(client: Loose) -> None:
    assert make_server(client).update(labels={"a": "b"}).name == "alice"


def test_a_taken_name_cannot_be_changed_to(client: Loose) -> None:
    make_server(client, "alice")
    with pytest.raises(APIException) as error:
        make_server(client, "bob").update(name="alice")
    assert error.value.code == "uniqueness_error"


def test_a_deleted_server_leaves_nothing(client: Loose, world: World) -> None:
    server = make_server(client)
    server.delete().wait_until_finished()

    assert client.servers.get_all() == [] and client.primary_ips.get_all() == []
    assert world.machines.state(server.id) is None
    with pytest.raises(APIException, match=f"server with ID '{server.id}' not found") as error:
        client.servers.get_by_id(server.id)
    assert error.value.code == "not_found"
    assert make_server(client, "alice").id != server.id


def test_a_server_can_be_found_by_name_status_and_label(client: Loose) -> None:
    make_server(client, "alice", labels={"instance": "alice"})
    make_server(client, "bob", labels={"instance": "bob"}).power_off().wait_until_finished()
    alice = client.servers.get_by_name("alice")
    assert alice is not None and alice.name == "alice"
    assert [s.name for s in client.servers.get_all(status=["off"])] == ["bob"]
    assert [s.name for s in client.servers.get_all(label_selector="instance=bob")] == ["bob"]
    assert client.servers.get_by_name("carol") is None


def test_a_guest_that_switched_itself_off_shows_as_off(client: Loose, world: World) -> None:
    server = make_server(client)
    world.machines.power_off(server.id)
    assert client.servers.get_by_id(server.id).status == "off"


def test_a_server_whose_machine_is_lost_shows_as_unknown(client: Loose, world: World) -> None:
    server = make_server(client)
    world.machines.delete(server.id)
    assert client.servers.get_by_id(server.id).status == "unknown"


def test_an_action_that_fails_says_why_and_frees_the_server(client: Loose, world: World) -> None:
    server = make_server(client)
    world.machines.delete(server.id)
    with pytest.raises(ActionFailedException, match="there is no machine") as error:
        server.power_on().wait_until_finished()
    assert error.value.action.status == "error"
    assert error.value.action.finished is not None
    assert not client.servers.get_by_id(server.id).locked
    server.delete().wait_until_finished()


def test_prices_come_with_the_server_type(client: Loose) -> None:
    prices = make_server(client).server_type.prices or []
    assert {price["location"] for price in prices} == {"fsn1", "nbg1", "hel1"}
    assert all(re.fullmatch(r"\d+\.\d{4}", price["price_monthly"]["net"]) for price in prices)


def test_server_type_and_image_may_be_given_by_id(client: Loose) -> None:
    type_ = client.server_types.get_by_name("cpx22")
    assert type_ is not None and type_.id is not None
    server = make_server(client, server_type=ServerType(id=type_.id), image=Image(id=161547269))
    assert (server.server_type.name, server.image.name) == ("cpx22", "ubuntu-24.04")
