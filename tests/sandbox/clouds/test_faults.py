"""Faults on request and the log of requests, over real connections."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests.exceptions
from flask import Blueprint, Response, jsonify
from hcloud import APIException

from sandbox.clouds import hetzner
from sandbox.clouds.world import World
from tests.sandbox.clouds.conftest import Admin, Serve
from tests.sandbox.clouds.hetzner_steps import Loose, make_server, order_server
from tests.sandbox.clouds.live import Live, call, client_of

SERVERS = {"vendor": "hetzner", "path": "^/v1/servers$"}


def add(admin: Admin, **rule: Any) -> None:
    answer = admin("POST", "/faults", rule)
    assert answer.status == 201, answer.text


@pytest.mark.parametrize(
    ("status", "code"),
    [(412, "resource_unavailable"), (423, "locked"), (500, "server_error"), (503, "unavailable")],
)
def test_a_status_is_answered_in_the_vendors_form(
    client: Loose, admin: Admin, status: int, code: str
) -> None:
    add(admin, **SERVERS, method="POST", status=status)
    with pytest.raises(APIException) as error:
        order_server(client)
    assert error.value.code == code
    assert client.servers.get_all() == []


def test_a_fault_happens_as_often_as_asked(live: Live, admin: Admin) -> None:
    add(admin, **SERVERS, status=500, times=2)
    token = live.world.credentials.hetzner_token
    statuses = [call(live.url, "GET", "/v1/servers", token=token).status for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert admin("GET", "/faults").json == {"faults": []}


def test_a_fault_happens_exactly_as_often_with_many_requests_at_once(
    live: Live, admin: Admin
) -> None:
    add(admin, **SERVERS, status=500, times=5)
    token = live.world.credentials.hetzner_token

    def status(_: int) -> int:
        return call(live.url, "GET", "/v1/servers", token=token).status

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(status, range(16))) == [200] * 11 + [500] * 5


def test_a_fault_meets_only_its_method_and_path(client: Loose, admin: Admin) -> None:
    add(admin, **SERVERS, method="POST", status=500)
    assert client.servers.get_all() == [] and client.firewalls.get_all() == []
    assert len(admin("GET", "/faults").json["faults"]) == 1


def test_a_fault_can_bring_its_own_body_headers_and_delay(live: Live, admin: Admin) -> None:
    body = {"error": {"code": "maintenance", "message": "back soon", "details": {}}}
    rule = {"status": 503, "body": body, "headers": {"Retry-After": "7"}, "delay_s": 0.2}
    add(admin, **SERVERS, **rule)
    started = time.monotonic()
    answer = call(live.url, "GET", "/v1/servers")
    assert time.monotonic() - started >= 0.2
    assert (answer.status, answer.json, answer.headers["Retry-After"]) == (503, body, "7")


def test_a_body_that_is_no_json_is_sent_as_it_is(live: Live, admin: Admin) -> None:
    add(admin, **SERVERS, status=502, body="<h1>Bad Gateway</h1>")
    assert call(live.url, "GET", "/v1/servers").text == "<h1>Bad Gateway</h1>"


def test_a_429_is_retried_by_the_official_client(client: Loose, admin: Admin) -> None:
    add(admin, **SERVERS, method="POST", status=429)
    assert make_server(client).status == "running"


def test_a_lost_response_comes_after_the_work(live: Live, admin: Admin) -> None:
    add(admin, **SERVERS, method="POST", kind="lost_response")
    client: Loose = client_of(live)
    with pytest.raises(requests.exceptions.ConnectionError):
        order_server(client)
    assert [server.name for server in client.servers.get_all()] == ["alice"]


def test_nothing_at_all_is_answered_when_a_response_is_lost(live: Live, admin: Admin) -> None:
    add(admin, **SERVERS, kind="lost_response")
    with pytest.raises(http.client.RemoteDisconnected):
        call(live.url, "GET", "/v1/servers", token=live.world.credentials.hetzner_token)


def test_a_timeout_holds_the_line_then_drops_it_without_work(live: Live, admin: Admin) -> None:
    add(admin, **SERVERS, method="POST", kind="timeout", delay_s=0.3)
    client: Loose = client_of(live)
    started = time.monotonic()
    with pytest.raises(requests.exceptions.ConnectionError):
        order_server(client)
    assert time.monotonic() - started >= 0.3
    assert client.servers.get_all() == []


def test_an_impatient_client_gives_up_during_a_timeout(live: Live, admin: Admin) -> None:
    add(admin, **SERVERS, kind="timeout", delay_s=1)
    with pytest.raises(TimeoutError):
        connection = http.client.HTTPConnection(live.url.removeprefix("http://"), timeout=0.2)
        try:
            connection.request("GET", "/v1/servers")
            connection.getresponse()
        finally:
            connection.close()


def shop(world: World) -> Blueprint:
    """A company that knows nothing of faults."""
    blueprint = Blueprint("shop", __name__)
    sold: list[int] = []

    @blueprint.post("/buy")
    def buy() -> Response:
        def work() -> Any:
            yield b"part one"
            sold.append(1)

        return Response(work())

    @blueprint.get("/sold")
    def count() -> Response:
        return jsonify(sold)

    return blueprint


def test_a_new_company_has_faults_for_nothing(serve: Serve) -> None:
    live = serve({"/shop": shop, "/v1": hetzner.blueprint})
    call(live.url, "POST", "/admin/faults", {"vendor": "shop", "status": 500})
    answer = call(live.url, "GET", "/shop/sold")
    assert (answer.status, answer.json["error"]["message"]) == (
        500,
        "sandbox fault with status 500",
    )


def test_a_streamed_answer_is_worked_to_its_end_before_it_is_lost(serve: Serve) -> None:
    live = serve({"/shop": shop})
    rule = {"vendor": "shop", "path": "/buy", "kind": "lost_response"}
    call(live.url, "POST", "/admin/faults", rule)
    with pytest.raises(http.client.RemoteDisconnected):
        call(live.url, "POST", "/shop/buy")
    assert call(live.url, "GET", "/shop/sold").json == [1]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (None, "a JSON object is expected"),
        ({}, "vendor"),
        ({"vendor": "acme", "status": 500}, "vendor: unknown; there are hetzner"),
        ({"vendor": "hetzner"}, "status belongs to rules of kind status"),
        ({"vendor": "hetzner", "kind": "timeout", "status": 500}, "status belongs"),
        ({"vendor": "hetzner", "status": 99}, "status: "),
        ({"vendor": "hetzner", "status": "500"}, "status: "),
        ({"vendor": "hetzner", "status": 500, "path": "("}, "path: is not a regular"),
        ({"vendor": "hetzner", "status": 500, "times": 0}, "times: "),
        ({"vendor": "hetzner", "status": 500, "method": "get"}, "method: "),
        ({"vendor": "hetzner", "status": 500, "delay_s": -1}, "delay_s: "),
        ({"vendor": "hetzner", "status": 500, "when": "now"}, "when: "),
        ({"vendor": "hetzner", "kind": "explosion"}, "kind: "),
    ],
)
def test_a_wrong_rule_is_refused_with_its_reason(admin: Admin, rule: Any, problem: str) -> None:
    answer = admin("POST", "/faults", rule)
    assert answer.status == 400
    assert problem in answer.json["error"]
    assert admin("GET", "/faults").json == {"faults": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("action-seconds", {"seconds": -1}),
        ("action-seconds", {"seconds": "long"}),
        ("action-seconds", []),
        ("rate-limit", {"per_hour": 0}),
        ("stock", {"server_type": "cpx22", "location": "fsn1"}),
        ("stock", {"server_type": "cpx22", "location": "ash", "available": False}),
        ("stock", {"server_type": "cpx99", "location": "fsn1", "available": False}),
    ],
)
def test_a_wrong_setting_is_refused(admin: Admin, path: str, body: Any) -> None:
    before = admin("GET", f"/hetzner/{path}").json
    answer = admin("PUT", f"/hetzner/{path}", body)
    assert answer.status == 400 and answer.json["error"]
    assert admin("GET", f"/hetzner/{path}").json == before


def test_settings_can_be_read_back(admin: Admin) -> None:
    stock = {"server_type": "cpx22", "location": "fsn1"}
    assert admin("PUT", "/hetzner/action-seconds", {"seconds": 1.5}).json == {"seconds": 1.5}
    admin("PUT", "/hetzner/stock", stock | {"available": False})
    assert admin("GET", "/hetzner/stock").json == {"sold_out": [stock]}
    assert admin("PUT", "/hetzner/stock", stock | {"available": True}).json == {"sold_out": []}


def test_rules_can_be_taken_back(admin: Admin) -> None:
    for status in (500, 501, 502):
        add(admin, **SERVERS, status=status)
    first = admin("GET", "/faults").json["faults"][0]
    assert admin("DELETE", f"/faults/{first['id']}").status == 204
    assert [r["status"] for r in admin("GET", "/faults").json["faults"]] == [501, 502]
    assert admin("DELETE", f"/faults/{first['id']}").status == 404
    assert admin("DELETE", "/faults").status == 204
    assert admin("GET", "/faults").json == {"faults": []}


def test_requests_are_logged_in_order_and_without_secrets(
    client: Loose, live: Live, admin: Admin
) -> None:
    private = "#cloud-config\n" + "very private " * 50
    make_server(client, user_data=private)
    entries = admin("GET", "/requests").json["requests"]
    order = entries[0]
    assert (order["method"], order["path"], order["status"], order["vendor"]) == (
        "POST",
        "/v1/servers",
        201,
        "hetzner",
    )
    assert order["body"]["user_data"].startswith("#cloud-config\n")
    text = str(entries)
    assert "very private" not in text and live.world.credentials.hetzner_token not in text
    later = admin("GET", f"/requests?since={order['number']}").json["requests"]
    assert [e["number"] for e in later] == [e["number"] for e in entries[1:]]


def test_the_log_tells_what_was_not_answered(live: Live, admin: Admin) -> None:
    add(admin, **SERVERS, kind="lost_response")
    with pytest.raises(http.client.RemoteDisconnected):
        call(live.url, "GET", "/v1/servers?name=alice")
    entry = admin("GET", "/requests").json["requests"][-1]
    assert (entry["status"], entry["fault"], entry["query"]) == (
        None,
        "lost_response",
        "name=alice",
    )


def test_requests_that_fit_no_address_are_logged_too(live: Live, admin: Admin) -> None:
    call(live.url, "GET", "/nowhere")
    assert admin("GET", "/requests").json["requests"][-1]["status"] == 404


def test_the_log_refuses_a_wrong_number(admin: Admin) -> None:
    assert admin("GET", "/requests?since=yesterday").status == 400


def test_documents_can_be_looked_at_without_secrets(client: Loose, admin: Admin) -> None:
    make_server(client, user_data="#cloud-config\n" + "very private " * 50)
    answer = admin("GET", "/state/hetzner.server")
    assert answer.json["documents"][0]["name"] == "alice"
    assert "very private" not in answer.text


def test_the_admin_api_itself_has_no_faults(admin: Admin) -> None:
    assert admin("POST", "/faults", {"vendor": "admin", "status": 500}).status == 400


def test_the_admin_api_is_for_this_machine_only(live: Live) -> None:
    with live.app.test_client() as outside:
        answer = outside.get("/admin/faults", environ_base={"REMOTE_ADDR": "203.0.113.7"})
    assert answer.status_code == 403
