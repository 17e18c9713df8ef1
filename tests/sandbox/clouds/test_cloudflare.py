from collections.abc import Callable, Iterator

import cloudflare
import httpx
import pytest
from cloudflare import Cloudflare

from sandbox.clouds import cloudflare as company
from sandbox.clouds.world import World
from tests.sandbox.clouds.live import Live, call

Serve = Callable[..., Live]
API = "/client/v4"


@pytest.fixture
def live(serve: Serve) -> Live:
    return serve({API: company.blueprint})


@pytest.fixture
def client(live: Live, world: World) -> Iterator[Cloudflare]:
    with client_of(live, world.credentials.cloudflare_token) as client:
        yield client


@pytest.fixture
def zone(world: World) -> str:
    return world.credentials.cloudflare_zone_id


def client_of(live: Live, token: str) -> Cloudflare:
    return Cloudflare(api_token=token, base_url=f"{live.url}{API}", max_retries=0, timeout=60)


def code_of(error: pytest.ExceptionInfo[cloudflare.APIStatusError]) -> int | None:
    return error.value.errors[0].code


def test_a_valid_token_is_verified(client: Cloudflare) -> None:
    found = client.user.tokens.verify()
    assert found is not None
    assert found.status == "active"
    assert len(found.id) == 32


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 400, 9106),
        ("Bearer short", 400, 6003),
        ("Basic " + "a" * 40, 400, 6003),
        ("Bearer " + "a" * 40, 401, 10000),
    ],
)
def test_a_request_without_our_token_is_refused_in_the_vendors_words(
    live: Live, zone: str, header: str | None, status: int, code: int
) -> None:
    url = f"/zones/{zone}/dns_records"
    answer = ask_with_header(live, f"{API}{url}", header)
    assert answer.status_code == status
    body = answer.json()
    assert body["success"] is False
    assert body["result"] is None
    assert body["errors"][0]["code"] == code


def ask_with_header(live: Live, path: str, header: str | None) -> httpx.Response:
    headers = {} if header is None else {"Authorization": header}
    return httpx.get(f"{live.url}{path}", headers=headers)


def test_an_unknown_token_is_not_verified(live: Live) -> None:
    with (
        client_of(live, "b" * 40) as client,
        pytest.raises(cloudflare.AuthenticationError) as error,
    ):
        client.user.tokens.verify()
    assert code_of(error) == 1000


def test_the_zone_is_found_by_its_name_and_by_its_id(client: Cloudflare, zone: str) -> None:
    assert [found.id for found in client.zones.list(name="clawdet.com")] == [zone]
    assert list(client.zones.list(name="example.com")) == []
    found = client.zones.get(zone_id=zone)
    assert found is not None
    assert (found.name, found.status) == ("clawdet.com", "active")


def test_somebody_elses_zone_is_forbidden(client: Cloudflare) -> None:
    with pytest.raises(cloudflare.PermissionDeniedError) as error:
        client.zones.get(zone_id="0" * 32)
    assert code_of(error) == 9109
    with pytest.raises(cloudflare.PermissionDeniedError) as error:
        client.dns.records.list(zone_id="0" * 32)
    assert code_of(error) == 10000


def test_the_ssl_mode_is_strict_until_it_is_changed(client: Cloudflare, zone: str) -> None:
    def mode() -> object:
        setting = client.zones.settings.get("ssl", zone_id=zone)
        return getattr(setting, "value", None)

    assert mode() == "strict"
    client.zones.settings.edit("ssl", zone_id=zone, value="flexible")
    assert mode() == "flexible"


def test_an_ssl_mode_that_does_not_exist_is_refused(client: Cloudflare, zone: str) -> None:
    with pytest.raises(cloudflare.BadRequestError) as error:
        client.zones.settings.edit("ssl", zone_id=zone, value="tight")
    assert code_of(error) == 1007
    with pytest.raises(cloudflare.BadRequestError) as error:
        client.zones.settings.get("polish", zone_id=zone)
    assert code_of(error) == 1006


def test_a_path_that_leads_nowhere_is_answered_in_the_vendors_words(
    live: Live, world: World
) -> None:
    for path in ("/zones/clawdet.com/dns_records", "/nothing", "/zones//dns_records/x"):
        answer = call(live.url, "GET", f"{API}{path}", token=world.credentials.cloudflare_token)
        assert answer.status == 404, path
        assert [problem["code"] for problem in answer.json["errors"]] == [7003, 7000]
