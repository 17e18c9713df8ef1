import re
from collections.abc import Callable
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from sandbox.supervisor import Sandbox
from tests.webapp.accounts.variants import variant
from tests.webapp.conftest import SignInAs, csrf
from webapp.accounts.models import SignIn, SignInAttempt, User
from webapp.database import Database
from webapp.identifiers import hash_token
from webapp.settings import WebSettings

ORIGIN = "http://localhost:8000"
TIMEOUT_S = 60

Fault = Callable[..., None]


@pytest.fixture
def fault(sandbox: Sandbox, outside: requests.Session) -> Fault:
    """Something goes wrong at X."""

    def add(**rule: Any) -> None:
        body = {"vendor": "x", "times": 20, **rule}
        outside.post(f"{sandbox.admin_url}/faults", json=body, timeout=60).raise_for_status()

    return add


class XPage:
    """X's consent page, and the person in front of it."""

    def __init__(self, outside: requests.Session) -> None:
        self._outside = outside

    def leave(self, client: FlaskClient, next_path: str = "") -> str:
        """The consent page's address, as the sign-in leads to it."""
        query = {"next": next_path} if next_path else {}
        away = client.get("/api/auth/x/login", query_string=query)
        assert away.status_code == 303, away.text
        return away.headers["Location"]

    def press(self, consent: str, decision: str = "authorize", **person: str) -> str:
        """The path of ours that X leads back to. `person`: username and name; alice if empty."""
        answer = self._outside.post(
            consent,
            data={"username": "alice", **person, "decision": decision},
            allow_redirects=False,
            timeout=TIMEOUT_S,
        )
        return answer.headers["Location"].removeprefix(ORIGIN)


@pytest.fixture
def x(outside: requests.Session) -> XPage:
    return XPage(outside)


def cookie(response: TestResponse, name: str) -> Morsel[str]:
    for header in response.headers.getlist("Set-Cookie"):
        parsed: SimpleCookie = SimpleCookie(header)
        if name in parsed:
            return parsed[name]
    raise AssertionError(f"{name} is not set by {response.headers}")


def sets_no_session(response: TestResponse) -> bool:
    return not any(c.startswith("user_session=") for c in response.headers.getlist("Set-Cookie"))


def hop_of(page: str) -> str:
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page)
    assert found
    return found.group(1)


def test_the_sign_in_page_says_what_is_read_and_leads_to_x(client: FlaskClient) -> None:
    page = client.get("/sign-in?next=/settings").text
    assert "What we read" in page
    assert "/api/auth/x/login?next=/settings" in page


def test_the_way_to_x_carries_pkce_state_and_no_more_scopes_than_the_profile_needs(
    client: FlaskClient, x: XPage, settings: WebSettings
) -> None:
    query = parse_qs(urlsplit(x.leave(client)).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["client_id"] == [settings.twitter_client_id]
    assert query["redirect_uri"] == [f"{ORIGIN}/api/auth/x/callback"]
    assert query["scope"] == ["users.read tweet.read"]
    assert len(query["state"][0]) >= 43


def test_state_is_kept_hashed_and_the_verifier_encrypted(
    client: FlaskClient, x: XPage, db: Database
) -> None:
    state = parse_qs(urlsplit(x.leave(client)).query)["state"][0]
    with db.engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT state_hash, code_verifier FROM sign_in_attempts")
        state_hash, verifier = row.one()
    assert state_hash == hash_token(state)
    assert bytes(verifier).startswith(b"gAAAA")


def test_signing_in_makes_a_user_of_the_profile(
    client: FlaskClient, x: XPage, db: Database
) -> None:
    back = x.press(x.leave(client), username="Dora_7", name="Dora Diver")
    assert client.get(back).status_code == 200
    with db.read() as session:
        user = session.scalars(select(User)).one()
    assert (user.x_username, user.x_name, user.role) == ("Dora_7", "Dora Diver", "customer")
    assert user.x_profile_image and user.x_id


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: FlaskClient, x: XPage, db: Database
) -> None:
    answer = client.get(x.press(x.leave(client)))
    session_cookie = cookie(answer, "user_session")
    assert session_cookie["httponly"]
    assert session_cookie["samesite"] == "Strict"
    assert session_cookie["max-age"] == str(7 * 86400)
    assert not session_cookie["secure"]  # it is served over plain HTTP here
    with db.read() as session:
        kept = session.scalars(select(SignIn)).one()
    assert kept.token_hash == hash_token(session_cookie.value)
    assert kept.expires_at - kept.created_at == timedelta(days=7)


def test_every_cookie_is_secure_where_the_address_is_https(settings: WebSettings) -> None:
    with variant(settings, clawdet_web_url="https://clawdet.com") as app:
        client = app.test_client()
        answers = [client.get("/"), client.get("/api/auth/x/login")]
    cookies = [c for answer in answers for c in answer.headers.getlist("Set-Cookie")]
    names = {c.partition("=")[0].rstrip("0123456789abcdef") for c in cookies}
    assert names >= {"trial", "sign_in_"}
    assert all("; Secure" in c and "; HttpOnly" in c for c in cookies)


def test_the_state_cookie_lives_ten_minutes_and_comes_along_from_x(client: FlaskClient) -> None:
    away = client.get("/api/auth/x/login")
    (header,) = [c for c in away.headers.getlist("Set-Cookie") if c.startswith("sign_in_")]
    assert "Max-Age=600" in header
    assert "SameSite=Lax" in header
    assert "HttpOnly" in header
    assert "Path=/api/auth/x" in header


def test_the_callback_answers_with_a_page_of_ours_that_leads_on(
    client: FlaskClient, x: XPage
) -> None:
    page = client.get(x.press(x.leave(client)))
    assert page.status_code == 200
    assert hop_of(page.text) == "/signup/details"
    assert 'href="/signup/details"' in page.text


def test_the_profile_is_refreshed_at_every_sign_in(
    client: FlaskClient,
    x: XPage,
    db: Database,
    sandbox: Sandbox,
    outside: requests.Session,
    sign_in: SignInAs,
) -> None:
    first = sign_in(client, "renamer", "Before")
    renaming = {"id": first.x_id, "username": "renamed_1", "name": "After"}
    url = f"{sandbox.running.clouds_url}/x/sandbox/rename"
    outside.post(url, json=renaming, timeout=TIMEOUT_S).raise_for_status()
    second = sign_in(client, "renamed_1", "After")
    assert second.id == first.id
    assert (second.x_username, second.x_name) == ("renamed_1", "After")
    renaming = {"id": first.x_id, "username": "renamer", "name": "Before"}
    outside.post(url, json=renaming, timeout=TIMEOUT_S).raise_for_status()


def test_each_sign_in_has_a_token_of_its_own(client: FlaskClient, x: XPage, db: Database) -> None:
    client.set_cookie("user_session", "chosen-by-somebody-else")
    first = cookie(client.get(x.press(x.leave(client))), "user_session").value
    second = cookie(client.get(x.press(x.leave(client))), "user_session").value
    assert len({"chosen-by-somebody-else", first, second}) == 3
    with db.read() as session:
        kept = set(session.scalars(select(SignIn.token_hash)))
    assert kept == {hash_token(first), hash_token(second)}


def test_a_cookie_nobody_was_given_signs_nobody_in(client: FlaskClient) -> None:
    client.set_cookie("user_session", "guessed")
    assert client.get("/api/me").status_code == 401


def test_an_expired_session_is_none(client: FlaskClient, db: Database, sign_in: SignInAs) -> None:
    sign_in(client)
    assert client.get("/api/me").status_code == 200
    with db.begin() as session:
        kept = session.scalars(select(SignIn)).one()
        kept.expires_at = kept.created_at - timedelta(seconds=1)
    assert client.get("/api/me").status_code == 401


def test_who_says_no_at_x_is_not_signed_in_and_nothing_is_stored(
    client: FlaskClient, x: XPage, db: Database
) -> None:
    answer = client.get(x.press(x.leave(client), decision="cancel"))
    assert "You didn\N{RIGHT SINGLE QUOTATION MARK}t sign in." in answer.text
    assert "Nothing was stored." in answer.text
    assert sets_no_session(answer)
    with db.read() as session:
        assert session.scalars(select(User)).all() == []


@pytest.mark.parametrize(
    "query", ["", "?code=abc", "?state=forged&code=abc", "?error=access_denied"]
)
def test_a_forged_way_back_is_refused(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/api/auth/x/callback{query}")
    assert answer.status_code == 400
    assert "This sign-in did not start here." in answer.text
    assert 'href="/sign-in"' in answer.text
    assert sets_no_session(answer)


def test_a_way_back_works_once(client: FlaskClient, x: XPage) -> None:
    consent = x.leave(client)
    back = x.press(consent)
    state = parse_qs(urlsplit(back).query)["state"][0]
    assert client.get(back).status_code == 200
    client.set_cookie(f"sign_in_{hash_token(state)[:16]}", state, path="/api/auth/x")
    again = client.get(back)
    assert again.status_code == 400
    assert "This sign-in was used already." in again.text


def test_a_way_back_is_good_for_ten_minutes(client: FlaskClient, x: XPage, db: Database) -> None:
    back = x.press(x.leave(client))
    with db.begin() as session:
        attempt = session.scalars(select(SignInAttempt)).one()
        session.execute(
            update(SignInAttempt).values(expires_at=attempt.expires_at - timedelta(minutes=10))
        )
    answer = client.get(back)
    assert answer.status_code == 400
    assert "This sign-in took too long." in answer.text


def test_a_way_back_belongs_to_the_browser_that_left(
    app: Flask, client: FlaskClient, x: XPage
) -> None:
    back = x.press(x.leave(client))
    answer = app.test_client().get(back)
    assert answer.status_code == 400
    assert "This sign-in was started in another browser." in answer.text
    assert sets_no_session(answer)
    assert client.get(back).status_code == 200, "and is still good there"


def test_two_tabs_may_sign_in_at_once(client: FlaskClient, x: XPage) -> None:
    one, other = x.leave(client), x.leave(client)
    assert client.get(x.press(one)).status_code == 200
    assert client.get(x.press(other)).status_code == 200


def test_a_code_of_somebody_elses_making_is_refused(client: FlaskClient, x: XPage) -> None:
    state = parse_qs(urlsplit(x.leave(client)).query)["state"][0]
    answer = client.get("/api/auth/x/callback", query_string={"state": state, "code": "made-up"})
    assert answer.status_code == 400
    assert "X did not accept this sign-in." in answer.text


@pytest.mark.parametrize(
    "rule",
    [
        {"path": "/token$", "status": 503},
        {"path": "/token$", "status": 429},
        {"path": "/token$", "status": 403},
        {"path": "/token$", "status": 200, "body": "<html>maintenance</html>"},
        {"path": "/token$", "status": 200, "body": {}},
        {"path": "/token$", "kind": "timeout"},
        {"path": "/users/me$", "status": 500},
        {"path": "/users/me$", "status": 429},
        {"path": "/users/me$", "status": 200, "body": {"data": None}},
        {"path": "/users/me$", "kind": "lost_response"},
    ],
    ids=str,
)
def test_while_x_is_down_nobody_signs_in_and_everybody_may_try_again(
    client: FlaskClient, x: XPage, fault: Fault, db: Database, rule: dict[str, Any]
) -> None:
    back = x.press(x.leave(client, "/settings"))
    fault(**rule)
    answer = client.get(back)
    assert answer.status_code == 503
    assert "X is not answering." in answer.text
    assert 'href="/api/auth/x/login?next=/settings"' in answer.text
    assert sets_no_session(answer)
    with db.read() as session:
        assert session.scalars(select(User)).all() == []


def test_x_is_not_waited_for_longer_than_the_settings_say(
    settings: WebSettings, x: XPage, fault: Fault
) -> None:
    with variant(settings, clawdet_adapter_timeout_s=0.5) as app:
        client = app.test_client()
        back = x.press(x.leave(client))
        fault(path="/token$", kind="timeout", delay_s=5.0, times=1)
        assert client.get(back).status_code == 503


def test_with_wrong_credentials_of_ours_the_visitor_is_not_blamed(
    settings: WebSettings, x: XPage
) -> None:
    with variant(settings, twitter_client_secret=settings.stripe_secret_key) as app:
        client = app.test_client()
        answer = client.get(x.press(x.leave(client)))
    assert answer.status_code == 503
    assert "X is not answering." in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/ /evil.example",
        "/api/auth/x/login",
        "/sign-in?next=/sign-in",
        "/" + "a" * 600,
    ],
)
def test_nobody_is_led_to_another_site(client: FlaskClient, x: XPage, path: str) -> None:
    page = client.get(x.press(x.leave(client, path)))
    assert hop_of(page.text) == "/signup/details"
    signed_in = client.get("/sign-in", query_string={"next": path})
    assert signed_in.headers["Location"] == "/signup/details"


def test_whoever_has_given_details_goes_where_they_wanted_to(
    client: FlaskClient, x: XPage, sign_in: SignInAs, db: Database
) -> None:
    user = sign_in(client)
    with db.begin() as session:
        kept = session.get_one(User, user.id)
        kept.email, kept.terms_version = "alice@example.com", "2026-11-01"
        kept.terms_accepted_at = kept.created_at
    page = client.get(x.press(x.leave(client, "/settings?a=1&b=2")))
    assert hop_of(page.text) == "/settings?a=1&amp;b=2"


def test_sign_in_is_limited_by_address(settings: WebSettings, outside: requests.Session) -> None:
    with variant(settings, clawdet_sign_in_limit="5 per minute") as app:
        client = app.test_client()
        statuses = [client.get("/api/auth/x/login").status_code for _ in range(6)]
    assert statuses == [303] * 5 + [429]


def test_signing_out_ends_the_session_of_this_browser_only(
    app: Flask, client: FlaskClient, sign_in: SignInAs
) -> None:
    other = app.test_client()
    sign_in(client)
    sign_in(other)
    answer = client.post("/sign-out", data={"csrf_token": csrf(client)})
    assert answer.status_code == 303
    assert client.get("/api/me").status_code == 401
    assert other.get("/api/me").status_code == 200


def test_signing_out_everywhere_ends_them_all(
    app: Flask, client: FlaskClient, sign_in: SignInAs
) -> None:
    other = app.test_client()
    sign_in(client)
    sign_in(other)
    client.post("/sign-out-everywhere", data={"csrf_token": csrf(client, "/settings")})
    assert client.get("/api/me").status_code == 401
    assert other.get("/api/me").status_code == 401


@pytest.mark.parametrize("path", ["/sign-out", "/sign-out-everywhere", "/settings/delete"])
def test_another_site_cannot_press_the_buttons(
    client: FlaskClient, sign_in: SignInAs, path: str
) -> None:
    sign_in(client)
    assert client.post(path).status_code == 400
    assert client.get("/api/me").status_code == 200


def test_only_those_whom_the_settings_name_become_admin_at_sign_in(
    settings: WebSettings, x: XPage, db: Database
) -> None:
    def roles(operators: tuple[str, ...]) -> dict[str, tuple[str, str]]:
        found: dict[str, tuple[str, str]] = {}
        with variant(settings, clawdet_operators=operators) as app:
            for name in ("alice", "bob_builder"):
                client = app.test_client()
                page = client.get(x.press(x.leave(client), username=name))
                with db.read() as session:
                    user = session.scalars(select(User).where(User.x_username == name)).one()
                found[name] = (user.role, hop_of(page.text))
        return found

    customer = ("customer", "/signup/details")
    assert roles(()) == {"alice": customer, "bob_builder": customer}
    assert roles(("@Alice",)) == {"alice": ("admin", "/fleet"), "bob_builder": customer}


def test_the_api_tells_the_signed_in_user(client: FlaskClient, sign_in: SignInAs) -> None:
    user = sign_in(client)
    told = client.get("/api/me").get_json()
    assert told == {
        "id": user.id,
        "xId": user.x_id,
        "xUsername": "alice",
        "xName": "alice",
        "xProfileImage": user.x_profile_image,
        "email": None,
        "termsAccepted": False,
        "paid": False,
        "paidAt": None,
        "paymentMethod": None,
        "provisioningStatus": None,
        "instanceUrl": None,
        "hetznerVpsId": None,
        "hetznerVpsIp": None,
        "createdAt": int(user.created_at.timestamp() * 1000),
        "updatedAt": int(user.updated_at.timestamp() * 1000),
    }
