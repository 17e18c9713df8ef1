"""SSH keys, primary IPs and what one can only read."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hcloud import APIException

from tests.sandbox.clouds.conftest import Admin
from tests.sandbox.clouds.hetzner_steps import Loose, make_server, new_public_key
from tests.sandbox.clouds.live import Live, call


def test_an_ssh_key_lives_from_create_to_delete(client: Loose) -> None:
    key = client.ssh_keys.create("laptop", f"{new_public_key()} me@laptop", {"owner": "me"})
    assert client.ssh_keys.get_by_id(key.id).labels == {"owner": "me"}
    assert client.ssh_keys.get_by_name("laptop").id == key.id
    assert client.ssh_keys.get_by_fingerprint(key.fingerprint).id == key.id

    key.update(name="desktop", labels={})
    assert client.ssh_keys.get_by_id(key.id).name == "desktop"

    key.delete()
    assert client.ssh_keys.get_all() == []
    with pytest.raises(APIException, match=r"ssh key with ID .* not found"):
        key.delete()


def test_the_fingerprint_is_the_md5_of_the_key(client: Loose) -> None:
    public_key = new_public_key()
    digest = hashlib.md5(base64.b64decode(public_key.split()[1])).hexdigest()
    key = client.ssh_keys.create("laptop", public_key)
    assert key.fingerprint.replace(":", "") == digest
    assert len(key.fingerprint.split(":")) == 16


@pytest.mark.parametrize("private", [
    rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()),
])  # fmt: skip
def test_other_kinds_of_keys_are_taken(
    client: Loose, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    text = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert client.ssh_keys.create("laptop", text).public_key == text


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "hello there", "é"])
def test_what_is_no_key_is_refused(client: Loose, text: str) -> None:
    with pytest.raises(APIException) as error:
        client.ssh_keys.create("laptop", text)
    assert error.value.code == "invalid_input"
    assert error.value.details["fields"][0]["name"] == "public_key"


def test_names_and_keys_are_unique(client: Loose) -> None:
    key = new_public_key()
    client.ssh_keys.create("laptop", key)
    other = client.ssh_keys.create("desktop", new_public_key())
    asks: tuple[Callable[[], Any], ...] = (
        lambda: client.ssh_keys.create("laptop", new_public_key()),
        lambda: client.ssh_keys.create("phone", f"{key} another comment"),
        lambda: other.update(name="laptop"),
    )
    for ask in asks:
        with pytest.raises(APIException) as error:
            ask()
        assert error.value.code == "uniqueness_error"


def test_every_server_has_a_primary_ip_of_each_kind(client: Loose) -> None:
    server = make_server(client)
    addresses = client.primary_ips.get_all()
    assert {(a.type, a.ip) for a in addresses} == {
        ("ipv4", server.public_net.ipv4.ip),
        ("ipv6", server.public_net.ipv6.ip),
    }
    assert {a.assignee_id for a in addresses} == {server.id}
    assert all(a.auto_delete and a.location.name == server.location.name for a in addresses)
    assert server.public_net.primary_ipv4.ip == server.public_net.ipv4.ip


def test_a_primary_ip_can_be_named_found_and_protected(client: Loose) -> None:
    server = make_server(client)
    address = client.primary_ips.get_list(ip=server.public_net.ipv4.ip).primary_ips[0]
    address.update(name="alice-v4", labels={"instance": "alice"})
    assert client.primary_ips.get_by_name("alice-v4").id == address.id
    assert len(client.primary_ips.get_all(label_selector="instance=alice")) == 1
    address.change_protection(delete=True).wait_until_finished()
    assert client.primary_ips.get_by_id(address.id).protection == {"delete": True}
    with pytest.raises(APIException) as error:
        address.delete()
    assert error.value.code == "protected"


def test_a_primary_ip_stays_with_its_server(client: Loose) -> None:
    server = make_server(client)
    address = server.public_net.primary_ipv4
    with pytest.raises(APIException) as in_use:
        address.delete()
    with pytest.raises(APIException) as unsupported:
        address.update(auto_delete=False)
    assert (in_use.value.code, unsupported.value.code) == ("resource_in_use", "unsupported_error")


def test_reverse_dns_of_a_primary_ip_shows_on_its_server(client: Loose) -> None:
    server = make_server(client)
    address = server.public_net.primary_ipv4
    address.change_dns_ptr(address.ip, "alice.clawdet.com").wait_until_finished()
    assert client.servers.get_by_id(server.id).public_net.ipv4.dns_ptr == "alice.clawdet.com"
    assert [a.command for a in address.get_actions()] == ["change_dns_ptr"]


def test_the_locations_are_the_vendors(client: Loose) -> None:
    assert {location.name for location in client.locations.get_all()} == {
        "fsn1", "nbg1", "hel1", "ash", "hil", "sin",
    }  # fmt: skip
    helsinki = client.locations.get_by_name("hel1")
    assert (helsinki.city, helsinki.network_zone) == ("Helsinki", "eu-central")
    assert client.locations.get_by_id(helsinki.id).name == "hel1"


def test_cpx22_is_the_size_that_clawdet_sells(client: Loose) -> None:
    type_ = client.server_types.get_by_name("cpx22")
    assert (type_.cores, type_.memory, type_.disk, type_.architecture) == (2, 4, 80, "x86")
    assert {offer.location.name for offer in type_.locations} == {"fsn1", "nbg1", "hel1"}
    assert client.server_types.get_by_id(type_.id).name == "cpx22"


def test_stock_shows_where_clients_look_for_it(client: Loose, live: Live, admin: Admin) -> None:
    stock = {"server_type": "cpx22", "location": "fsn1", "available": False}
    admin("PUT", "/hetzner/stock", stock)

    type_ = client.server_types.get_by_name("cpx22")
    assert {o.location.name: o.available for o in type_.locations} == {
        "fsn1": False,
        "nbg1": True,
        "hel1": True,
    }
    token = live.world.credentials.hetzner_token
    answer = call(live.url, "GET", "/v1/datacenters?name=fsn1-dc14", token=token).json
    types = answer["datacenters"][0]["server_types"]
    assert type_.id in types["supported"] and type_.id not in types["available"]
    assert type_.id not in types["available_for_migration"]
    assert answer["recommendation"]

    admin("PUT", "/hetzner/stock", stock | {"available": True})
    assert all(o.available for o in client.server_types.get_by_name("cpx22").locations)


def test_prices_are_listed(live: Live) -> None:
    token = live.world.credentials.hetzner_token
    pricing = call(live.url, "GET", "/v1/pricing", token=token).json["pricing"]
    assert pricing["currency"] == "EUR"
    cpx22 = next(t for t in pricing["server_types"] if t["name"] == "cpx22")
    assert float(cpx22["prices"][0]["price_monthly"]["net"]) > 0
    assert float(pricing["server_backup"]["percentage"]) == 20


def test_there_are_no_isos(client: Loose) -> None:
    assert client.isos.get_all() == []
