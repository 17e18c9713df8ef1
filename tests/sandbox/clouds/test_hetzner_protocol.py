"""What every endpoint shares: token, errors, pages, selectors, the rate limit, actions by id."""

import re
import time
from typing import Any

import pytest
from hcloud import APIException

from tests.sandbox.clouds.conftest import Admin
from tests.sandbox.clouds.hetzner_steps import Loose, make_server, new_public_key
from tests.sandbox.clouds.live import Answer, Live, call, client_of


def ask(live: Live, method: str, path: str, body: Any = None) -> Answer:
    token = live.world.credentials.hetzner_token
    return call(live.url, method, f"/v1{path}", body, token)


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize("path", ["/servers", "/no-such-thing", "/servers/1/actions/poweron"])
def test_without_the_right_token_nothing_is_told(live: Live, token: str | None, path: str) -> None:
    answer = call(live.url, "GET", f"/v1{path}", token=token)
    assert answer.status == 401
    assert answer.json["error"]["code"] == "unauthorized"
    assert answer.json["error"]["message"] == "unable to authenticate"


def test_the_official_client_understands_a_refused_token(live: Live) -> None:
    with pytest.raises(APIException) as error:
        client_of(live, token="wrong" * 10).servers.get_all()
    assert error.value.code == "unauthorized"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/no-such-thing", 404, "not_found"),
        ("GET", "/servers/7", 404, "not_found"),
        ("GET", "/servers/seven", 404, "not_found"),
        ("POST", "/servers/7/actions/poweron", 404, "not_found"),
        ("POST", "/servers/7/actions/dance", 404, "not_found"),
        ("PATCH", "/servers", 405, "method_not_allowed"),
        ("DELETE", "/servers", 405, "method_not_allowed"),
        ("GET", "/actions", 410, "deprecated_api_endpoint"),
        ("GET", "/actions?id=one", 422, "invalid_input"),
        ("GET", "/isos/1", 404, "not_found"),
    ],
)
def test_wrong_addresses_get_the_vendors_errors(
    live: Live, method: str, path: str, status: int, code: str
) -> None:
    answer = ask(live, method, path)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.headers["X-Correlation-Id"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff\xfe", b"null", b"[" * 50_000])
def test_what_is_no_json_object_is_refused(live: Live, body: bytes) -> None:
    answer = ask(live, "POST", "/servers", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "json_error")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/servers", {}, "name"),
        ("/servers", {"name": 5, "server_type": "cpx22", "image": "ubuntu-24.04"}, "name"),
        ("/servers", {"name": "a", "server_type": True, "image": "x"}, "server_type"),
        ("/servers", {"name": "a", "server_type": None, "image": "x"}, "server_type"),
        ("/servers", {"name": "a", "server_type": "x", "image": "x", "labels": []}, "labels"),
        ("/servers", {"name": "a", "server_type": "x", "image": "x", "firewalls": [{}]},
         "firewalls.0.firewall"),
        ("/ssh_keys", {"name": "k", "public_key": 3}, "public_key"),
        ("/ssh_keys", {"name": " ", "public_key": "k"}, "name"),
        ("/firewalls", {"name": "f", "rules": [{"direction": "up", "protocol": "tcp"}]},
         "rules.0.direction"),
        ("/firewalls", {"name": "f", "rules": "all"}, "rules"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(live: Live, path: str, body: Any, field: str) -> None:
    answer = ask(live, "POST", path, body)
    assert (answer.status, answer.json["error"]["code"]) == (422, "invalid_input")
    assert field in [entry["name"] for entry in answer.json["error"]["details"]["fields"]]


def test_lists_come_in_pages(client: Loose, live: Live) -> None:
    for number in range(27):
        client.ssh_keys.create(f"key-{number}", new_public_key())

    first = ask(live, "GET", "/ssh_keys").json
    assert len(first["ssh_keys"]) == 25
    assert first["meta"]["pagination"] == {
        "page": 1,
        "per_page": 25,
        "previous_page": None,
        "next_page": 2,
        "last_page": 2,
        "total_entries": 27,
    }
    last = ask(live, "GET", "/ssh_keys?page=3&per_page=10").json
    assert [key["name"] for key in last["ssh_keys"]] == [f"key-{n}" for n in range(20, 27)]
    assert last["meta"]["pagination"]["next_page"] is None
    assert ask(live, "GET", "/ssh_keys?page=9").json["ssh_keys"] == []
    assert len(client.ssh_keys.get_all()) == 27


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "per_page=0", "sort=size",
                                   "sort=id:up", "label_selector=a%3D%3Db%3D"])  # fmt: skip
def test_a_wrong_query_is_refused(live: Live, query: str) -> None:
    answer = ask(live, "GET", f"/ssh_keys?{query}")
    assert (answer.status, answer.json["error"]["code"]) == (422, "invalid_input")


def test_lists_can_be_sorted(client: Loose, live: Live) -> None:
    for name in ("b", "c", "a"):
        client.ssh_keys.create(name, new_public_key())

    def names(query: str) -> list[str]:
        return [key["name"] for key in ask(live, "GET", f"/ssh_keys?{query}").json["ssh_keys"]]

    assert names("sort=name") == ["a", "b", "c"]
    assert names("sort=name:desc") == ["c", "b", "a"]
    assert names("sort=id:desc") == ["a", "c", "b"]
    assert names("sort=created&sort=id:desc")[0] in ("a", "b")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("env", {"prod", "test"}),
        ("!env", {"bare"}),
        ("env=prod", {"prod"}),
        ("env==prod", {"prod"}),
        ("env!=prod", {"test", "bare"}),
        ("env in (prod, test)", {"prod", "test"}),
        ("env notin (prod)", {"test", "bare"}),
        ("env in (prod,test),tier=web", {"prod"}),
        ("env, !tier", {"test"}),
        ("example.com/team=red", {"bare"}),
        ("", {"prod", "test", "bare"}),
    ],
)
def test_label_selectors_select(client: Loose, selector: str, expected: set[str]) -> None:
    client.ssh_keys.create("prod", new_public_key(), {"env": "prod", "tier": "web"})
    client.ssh_keys.create("test", new_public_key(), {"env": "test"})
    client.ssh_keys.create("bare", new_public_key(), {"example.com/team": "red"})
    assert {k.name for k in client.ssh_keys.get_all(label_selector=selector)} == expected


@pytest.mark.parametrize("selector", ["=x", "a=b=c", "a in b", "a in (b", "a,,b", "a b", "!a=b"])
def test_what_is_no_label_selector_is_refused(client: Loose, selector: str) -> None:
    with pytest.raises(APIException) as error:
        client.servers.get_all(label_selector=selector)
    assert error.value.code == "invalid_input"


def test_answers_tell_the_allowance(live: Live) -> None:
    first, second = ask(live, "GET", "/servers"), ask(live, "GET", "/servers")
    assert int(first.headers["RateLimit-Limit"]) > int(first.headers["RateLimit-Remaining"])
    assert int(second.headers["RateLimit-Remaining"]) <= int(first.headers["RateLimit-Remaining"])
    assert int(second.headers["RateLimit-Reset"]) >= int(time.time())


def test_an_exhausted_allowance_is_answered_with_429(live: Live, admin: Admin) -> None:
    admin("PUT", "/hetzner/rate-limit", {"per_hour": 2})
    assert [ask(live, "GET", "/servers").status for _ in range(3)] == [200, 200, 429]
    refused = ask(live, "GET", "/servers")
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    assert refused.headers["RateLimit-Remaining"] == "0"


def test_the_allowance_refills(live: Live, admin: Admin) -> None:
    def remaining() -> int:
        return int(ask(live, "GET", "/servers").headers["RateLimit-Remaining"])

    admin("PUT", "/hetzner/rate-limit", {"per_hour": 3_600})  # one a second
    spent = min(remaining() for _ in range(20))
    time.sleep(3)
    assert remaining() > spent


def test_several_actions_are_read_at_once(client: Loose, live: Live) -> None:
    server = make_server(client)
    ids = [action.id for action in server.get_actions()]
    query = "&".join(f"id={id_}" for id_ in ids)
    found = ask(live, "GET", f"/actions?{query}&id=7").json["actions"]
    assert [action["id"] for action in found] == ids
    newest = ask(live, "GET", f"/actions?{query}&sort=id:desc&status=success").json["actions"]
    assert [action["id"] for action in newest] == ids[::-1]
    assert client.actions.get_by_id(ids[0]).command == "create_server"


def test_an_action_of_another_server_is_not_found_here(client: Loose, live: Live) -> None:
    alice, bob = make_server(client, "alice"), make_server(client, "bob")
    action = bob.get_actions()[0]
    assert ask(live, "GET", f"/servers/{bob.id}/actions/{action.id}").status == 200
    assert ask(live, "GET", f"/servers/{alice.id}/actions/{action.id}").status == 404


def test_actions_of_a_deleted_server_can_still_be_read(client: Loose) -> None:
    server = make_server(client)
    action = server.delete()
    action.wait_until_finished()
    assert server.get_actions()[-1].command == "delete_server"


def test_times_are_in_the_vendors_form(client: Loose, live: Live) -> None:
    server = make_server(client)
    document = ask(live, "GET", f"/servers/{server.id}").json["server"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["created"])


STRANGE: list[Any] = [
    None, True, -1, 0, 1.5, 10**30, "", " ", "9" * 5000, "\ud800", "\0", [], [None], {}, {"id": []},
]  # fmt: skip
FIELDS = (
    "name", "server_type", "image", "location", "datacenter", "ssh_keys", "user_data", "labels",
    "firewalls", "public_net", "volumes", "networks", "placement_group", "public_key", "rules",
    "apply_to", "remove_from", "description", "type", "delete", "rebuild", "ip", "dns_ptr",
    "upgrade_disk", "auto_delete",
)  # fmt: skip
GOOD = {"name": "carol", "server_type": "cpx22", "image": "debian-12", "ip": "127.0.0.1",
        "dns_ptr": "a.b", "upgrade_disk": True, "rules": []}  # fmt: skip


def strange_bodies() -> list[dict[str, Any]]:
    alike = [dict.fromkeys(FIELDS, value) for value in STRANGE]
    return alike + [GOOD | {field: value} for field in FIELDS for value in STRANGE]


@pytest.mark.parametrize("path", [
    "/servers", "/ssh_keys", "/firewalls", "/firewalls/{firewall}/actions/set_rules",
    "/firewalls/{firewall}/actions/apply_to_resources", "/servers/{server}/actions/rebuild",
    "/servers/{server}/actions/change_type", "/servers/{server}/actions/change_dns_ptr",
    "/servers/{server}/actions/create_image", "/servers/{server}/actions/change_protection",
])  # fmt: skip
def test_no_body_is_too_strange_for_an_answer(client: Loose, live: Live, path: str) -> None:
    server, firewall = make_server(client), client.firewalls.create("web").firewall
    path = path.format(server=server.id, firewall=firewall.id)
    for body in strange_bodies():
        answer = ask(live, "POST", path, body)
        assert answer.status in (200, 201, 403, 404, 409, 422, 423), (body, answer.text)
        if answer.status > 201:
            assert answer.json["error"]["code"] and answer.json["error"]["message"]
