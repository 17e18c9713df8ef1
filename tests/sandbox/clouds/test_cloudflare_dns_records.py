import threading
from collections.abc import Callable, Iterator
from typing import Any

import cloudflare
import pytest
from cloudflare import Cloudflare

from sandbox.clouds import cloudflare as company
from sandbox.clouds.world import World
from tests.sandbox.clouds.live import Answer, Live, call, close_world, open_world

Serve = Callable[..., Live]
Ask = Callable[..., Answer]
API = "/client/v4"


@pytest.fixture
def live(serve: Serve) -> Live:
    return serve({API: company.blueprint})


@pytest.fixture
def client(live: Live, world: World) -> Iterator[Cloudflare]:
    token = world.credentials.cloudflare_token
    url = f"{live.url}{API}"
    with Cloudflare(api_token=token, base_url=url, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def zone(world: World) -> str:
    return world.credentials.cloudflare_zone_id


@pytest.fixture
def ask(live: Live, world: World, zone: str) -> Ask:
    """A raw request under the zone's records."""

    def send(method: str, path: str = "", body: Any = None) -> Answer:
        token = world.credentials.cloudflare_token
        return call(live.url, method, f"{API}/zones/{zone}/dns_records{path}", body, token)

    return send


def a_record(client: Cloudflare, zone: str, name: str = "alice", **changes: Any) -> Any:
    fields: dict[str, Any] = {"type": "A", "content": "127.0.0.1", "ttl": 1, "proxied": True}
    return client.dns.records.create(zone_id=zone, name=name, **fields | changes)


def code_of(error: pytest.ExceptionInfo[cloudflare.APIStatusError]) -> int | None:
    return error.value.errors[0].code


def test_a_record_is_created_as_the_official_plugin_asks_for_it(ask: Ask) -> None:
    # conformance: official-scenarios.txt, "up again"
    asked = {
        "comment": "clawdet",
        "content": "127.0.0.1",
        "name": "erin.clawdet.com",
        "proxied": True,
        "ttl": 1,
        "type": "A",
    }
    body = ask("POST", body=asked).json
    assert (body["success"], body["errors"], body["messages"]) == (True, [], [])
    record = body["result"]
    assert {name: record[name] for name in asked} == asked
    assert len(bytes.fromhex(record["id"])) == 16
    assert (record["proxiable"], record["settings"], record["tags"]) == (True, {}, [])
    assert record["meta"] == {}
    assert record["created_on"] == record["modified_on"] == record["comment_modified_on"]
    assert "tags_modified_on" not in record


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("alice", "alice.clawdet.com"),
        ("Alice.Clawdet.COM", "alice.clawdet.com"),
        ("@", "clawdet.com"),
        ("clawdet.com", "clawdet.com"),
        ("*.alice", "*.alice.clawdet.com"),
        ("alice.example.org", "alice.example.org.clawdet.com"),
        ("bücher", "xn--bcher-kva.clawdet.com"),
    ],
)
def test_names_are_brought_under_the_zone(
    client: Cloudflare, zone: str, given: str, stored: str
) -> None:
    assert a_record(client, zone, given).name == stored


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "SPF"}, 9020),
        ({"type": 7}, 9020),
        ({"name": ""}, 9000),
        ({"name": "bad name"}, 9000),
        ({"name": "a" * 64}, 9000),
        ({"name": "-a"}, 9000),
        ({"name": "\ud800"}, 9000),
        ({"content": "256.0.0.1"}, 9005),
        ({"content": None}, 9005),
        ({"type": "AAAA"}, 9006),
        ({"type": "CNAME", "content": "127.0.0.1"}, 9007),
        ({"type": "CNAME", "content": "alice.clawdet.com"}, 9039),
        ({"type": "MX", "content": "mail.clawdet.com", "proxied": False}, 9101),
        ({"type": "TXT", "content": "", "proxied": False}, 9011),
        ({"type": "TXT", "content": "hello"}, 9004),
        ({"proxied": "yes"}, 9003),
        ({"proxied": False, "ttl": 59}, 9021),
        ({"proxied": False, "ttl": 86401}, 9021),
        ({"proxied": False, "ttl": "120"}, 9021),
        ({"proxied": False, "ttl": True}, 9021),
        ({"proxied": False, "ttl": 1e999}, 9021),
        ({"tags": [f"t{number}" for number in range(21)]}, 9300),
        ({"tags": "owner:me"}, 9207),
        ({"comment": ["no"]}, 9207),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused_with_the_vendors_code(
    ask: Ask, changes: dict[str, Any], code: int
) -> None:
    fields = {"type": "A", "name": "alice", "content": "127.0.0.1", "ttl": 1, "proxied": True}
    answer = ask("POST", body=fields | changes)
    assert answer.status == 400
    assert [problem["code"] for problem in answer.json["errors"]] == [code]
    assert ask("GET").json["result"] == []


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_object_is_refused(ask: Ask, body: bytes) -> None:
    assert ask("POST", body=body).status == 400


@pytest.mark.parametrize("ttl", [1, 60, 86400])
def test_a_record_that_is_not_proxied_keeps_its_ttl(
    client: Cloudflare, zone: str, ttl: int
) -> None:
    assert a_record(client, zone, proxied=False, ttl=ttl).ttl == ttl


def test_a_proxied_records_ttl_is_always_automatic(client: Cloudflare, zone: str) -> None:
    assert a_record(client, zone, ttl=300).ttl == 1


def test_two_identical_records_cannot_be(client: Cloudflare, zone: str) -> None:
    a_record(client, zone)
    with pytest.raises(cloudflare.BadRequestError) as error:
        a_record(client, zone, proxied=False)
    assert code_of(error) == 81058
    assert error.value.errors[0].message == "An identical record already exists."


def test_a_host_can_have_several_addresses(client: Cloudflare, zone: str) -> None:
    a_record(client, zone)
    a_record(client, zone, content="127.0.0.2")
    a_record(client, zone, type="AAAA", content="::1")
    assert len(list(client.dns.records.list(zone_id=zone))) == 3


def test_a_cname_stands_alone(client: Cloudflare, zone: str) -> None:
    a_record(client, zone)
    with pytest.raises(cloudflare.BadRequestError) as error:
        a_record(client, zone, type="CNAME", content="clawdet.com")
    assert code_of(error) == 81053
    a_record(client, zone, "bob", type="CNAME", content="clawdet.com")
    with pytest.raises(cloudflare.BadRequestError) as error:
        a_record(client, zone, "bob")
    assert code_of(error) == 81054
    a_record(client, zone, "bob", type="TXT", content="beside a CNAME", proxied=False)


def test_ten_creates_at_once_leave_one_record(client: Cloudflare, zone: str) -> None:
    codes: list[int | None] = []

    def create() -> None:
        try:
            a_record(client, zone)
        except cloudflare.BadRequestError as error:
            codes.append(error.errors[0].code)

    threads = [threading.Thread(target=create) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [81058] * 9


def test_put_replaces_what_is_not_given(client: Cloudflare, zone: str) -> None:
    before = a_record(client, zone, comment="mine", tags=["owner:me"])
    after: Any = client.dns.records.update(
        before.id, zone_id=zone, name="alice", type="A", content="127.0.0.2", ttl=60
    )
    assert (after.id, after.content, after.ttl) == (before.id, "127.0.0.2", 60)
    assert (after.proxied, after.comment, after.tags) == (False, None, [])
    assert after.created_on == before.created_on
    assert after.modified_on > before.modified_on


def test_put_as_the_official_plugin_sends_it_changes_the_content(
    client: Cloudflare, zone: str, ask: Ask
) -> None:
    # conformance: official-scenarios.txt, "record content changed"
    before = a_record(client, zone, "erin", comment="clawdet")
    asked = {
        "comment": "clawdet",
        "content": "127.0.0.2",
        "name": "erin.clawdet.com",
        "proxied": True,
        "settings": {},
        "tags": [],
        "ttl": 1,
        "type": "A",
    }
    after = ask("PUT", f"/{before.id}", asked).json["result"]
    assert {name: after[name] for name in asked} == asked
    assert ask("GET", f"/{before.id}").json["result"] == after


def test_patch_keeps_what_is_not_given(client: Cloudflare, zone: str) -> None:
    before = a_record(client, zone, comment="mine", tags=["owner:me"])
    after: Any = client.dns.records.edit(
        before.id, zone_id=zone, name="alice", type="A", ttl=1, content="127.0.0.9"
    )
    assert after.content == "127.0.0.9"
    assert (after.proxied, after.comment, after.tags) == (True, "mine", ["owner:me"])
    assert after.comment_modified_on == before.comment_modified_on


def test_a_change_may_not_make_a_twin_and_changes_nothing_then(
    client: Cloudflare, zone: str, ask: Ask
) -> None:
    a_record(client, zone)
    other = a_record(client, zone, content="127.0.0.2")
    answer = ask("PATCH", f"/{other.id}", {"content": "127.0.0.1"})
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, 81058)
    assert ask("GET", f"/{other.id}").json["result"]["content"] == "127.0.0.2"
    assert ask("PATCH", f"/{other.id}", {"content": "127.0.0.2"}).status == 200


def test_a_deleted_record_is_gone(client: Cloudflare, zone: str) -> None:
    record = a_record(client, zone)
    deleted = client.dns.records.delete(record.id, zone_id=zone)
    assert deleted is not None
    assert deleted.id == record.id
    for again in (client.dns.records.get, client.dns.records.delete):
        with pytest.raises(cloudflare.NotFoundError) as error:
            again(record.id, zone_id=zone)
        assert code_of(error) == 81044


def test_changing_a_record_that_is_gone_is_not_found(ask: Ask) -> None:
    fields = {"type": "A", "name": "alice", "content": "127.0.0.1"}
    for method in ("PUT", "PATCH"):
        answer = ask(method, f"/{'0' * 32}", fields)
        assert (answer.status, answer.json["errors"][0]["code"]) == (404, 81044)


@pytest.fixture
def four(client: Cloudflare, zone: str) -> None:
    a_record(client, zone, "alice", comment="Customer 7", tags=["owner:sales", "paid"])
    a_record(client, zone, "bob", content="127.0.0.2", proxied=False, tags=["owner:support"])
    a_record(client, zone, "bob", type="TXT", content="v=spf1 -all", proxied=False)
    a_record(client, zone, "@", type="MX", content="mx.clawdet.com", priority=5, proxied=False)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=alice.clawdet.com", ["A alice"]),
        ("name=ALICE.clawdet.com", ["A alice"]),
        ("name=alice", []),
        ("name.exact=bob.clawdet.com", ["A bob", "TXT bob"]),
        ("name.startswith=ali", ["A alice"]),
        ("type=TXT", ["TXT bob"]),
        ("content=127.0.0.2", ["A bob"]),
        ("content.contains=spf", ["TXT bob"]),
        ("name=bob.clawdet.com&type=A", ["A bob"]),
        ("name=alice.clawdet.com&type=TXT&match=any", ["A alice", "TXT bob"]),
        ("proxied=true", ["A alice"]),
        ("proxied=false&type=A", ["A bob"]),
        ("comment.present", ["A alice"]),
        ("comment.contains=customer", ["A alice"]),
        ("comment.absent&type=A", ["A bob"]),
        ("tag=owner:sales", ["A alice"]),
        ("tag.present=owner", ["A alice", "A bob"]),
        ("tag.absent=owner", ["TXT bob", "MX "]),
        ("tag.startswith=owner:s&tag.present=paid", ["A alice"]),
        ("tag.exact=owner:support&tag.present=paid&tag_match=any", ["A alice", "A bob"]),
        ("search=mx.claw", ["MX "]),
        ("order=type&direction=desc", ["TXT bob", "MX ", "A alice", "A bob"]),
    ],
)
def test_the_list_is_filtered(ask: Ask, query: str, found: list[str]) -> None:
    records = ask("GET", f"?{query}").json["result"]
    short = [f"{r['type']} {r['name'].removesuffix('clawdet.com').rstrip('.')}" for r in records]
    assert short == found


@pytest.mark.parametrize(
    "query", ["per_page=0", "page=-1", "page=x", f"page={'9' * 5000}", "match=some", "order=id"]
)
def test_a_list_request_that_makes_no_sense_is_refused(ask: Ask, query: str) -> None:
    assert ask("GET", f"?{query}").status == 400


def test_the_official_client_walks_through_all_pages(
    client: Cloudflare, zone: str, ask: Ask
) -> None:
    names = {f"user-{number}.clawdet.com" for number in range(7)}
    for name in names:
        a_record(client, zone, name)
    assert {record.name for record in client.dns.records.list(zone_id=zone, per_page=3)} == names
    assert ask("GET", "?per_page=3&page=3").json["result_info"] == {
        "page": 3,
        "per_page": 3,
        "count": 1,
        "total_count": 7,
        "total_pages": 3,
    }


def test_records_survive_a_restart(client: Cloudflare, world: World, serve: Serve) -> None:
    record = a_record(client, world.credentials.cloudflare_zone_id)
    close_world(world)
    again = open_world(world.directory)
    try:
        kept = again.store.all("cloudflare.dns_record")
    finally:
        close_world(again)
    assert [entry["id"] for entry in kept] == [record.id]
