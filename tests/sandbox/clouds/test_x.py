import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.common.security import generate_token  # type: ignore[import-untyped, unused-ignore]
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped, unused-ignore]
from authlib.integrations.requests_client import (  # type: ignore[import-untyped, unused-ignore]
    OAuth2Session,
)

from sandbox.clouds import x
from sandbox.clouds.world import World
from tests.sandbox.clouds.live import Live, close_world, open_world

Serve = Callable[..., Live]
BACK = "http://clawdet.localhost:8000/auth/x/callback"
SCOPE = "users.read tweet.read"
TIMEOUT_S = 60
WRONG_CODE = {
    "error": "invalid_request",
    "error_description": "Value passed for the authorization code was invalid.",
}


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(serve: Serve, clock: Clock) -> Live:
    return serve({"/x": partial(x.blueprint, now=clock)})


@pytest.fixture
def browser(live: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{live.url}/x", timeout=TIMEOUT_S) as client:
        yield client


class App:
    """The product's side: Authlib's session, and a person at the consent page."""

    def __init__(self, live: Live, browser: httpx.Client, scope: str = SCOPE) -> None:
        self.base = f"{live.url}/x"
        self.browser = browser
        self.verifier = generate_token(48)
        self.session = OAuth2Session(
            live.world.credentials.twitter_client_id,
            live.world.credentials.twitter_client_secret,
            scope=scope,
            redirect_uri=BACK,
            code_challenge_method="S256",
        )

    def address(self) -> str:
        """The consent page's."""
        url, self.state = self.session.create_authorization_url(
            f"{self.base}/i/oauth2/authorize", code_verifier=self.verifier
        )
        return str(url)

    def press(self, decision: str = "authorize", **fields: str) -> dict[str, str]:
        """What comes back after a button was pressed."""
        answer = self.browser.post(self.address(), data={"decision": decision, **fields})
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(f"{BACK}?")
        return query_of(answer.headers["Location"])

    def fetch(self, code: str, **more: str) -> dict[str, Any]:
        fields = {"code": code, "code_verifier": self.verifier, **more}
        token: dict[str, Any] = self.session.fetch_token(
            f"{self.base}/2/oauth2/token", grant_type="authorization_code", **fields
        )
        return token

    def exchange(self, code: str, **changes: Any) -> httpx.Response:
        """A token request without Authlib, which some wrong ones need."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": BACK,
            "code_verifier": self.verifier,
        }
        auth = (self.session.client_id, self.session.client_secret)
        return self.browser.post("/2/oauth2/token", data=fields | changes, auth=auth)

    def me(self, token: str, **query: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return self.browser.get("/2/users/me", headers=headers, params=query)

    def sign_in(self, username: str, name: str = "") -> dict[str, Any]:
        """Who somebody is after signing in."""
        code = self.press(username=username, name=name)["code"]
        body: dict[str, Any] = self.me(self.fetch(code)["access_token"]).json()["data"]
        return body


@pytest.fixture
def app_with(live: Live, browser: httpx.Client) -> Iterator[Callable[[str], App]]:
    """An app that asks for these scopes."""
    opened: list[App] = []

    def open_app(scope: str) -> App:
        opened.append(App(live, browser, scope))
        return opened[-1]

    yield open_app
    for one in opened:
        one.session.close()


@pytest.fixture
def app(app_with: Callable[[str], App]) -> App:
    return app_with(SCOPE)


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_somebody_picked_signs_in(app: App) -> None:
    page = app.browser.get(app.address())
    assert "pretend X" in page.text and "@alice" in page.text and "<script" not in page.text
    picked = re.findall(r'name="person" value="(\d+)"', page.text)[0]
    back = app.press(person=picked)
    assert back["state"] == app.state
    token = app.fetch(back["code"])
    assert (token["token_type"], token["expires_in"]) == ("bearer", 7200)
    assert token["scope"] == SCOPE
    assert "refresh_token" not in token
    answer = app.me(token["access_token"], **{"user.fields": "profile_image_url"})
    data = answer.json()["data"]
    assert (data["id"], data["username"], data["name"]) == (picked, "alice", "Alice Example")
    image = app.browser.get(data["profile_image_url"])
    assert image.headers["Content-Type"].startswith("image/svg+xml")
    assert ">A</text>" in image.text


def test_the_page_s_own_form_is_enough_to_sign_in(app: App) -> None:
    page = app.browser.get(app.address()).text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    fields = hidden | {"username": "dave", "decision": "authorize"}
    answer = app.browser.post("/i/oauth2/authorize", data=fields)
    assert answer.status_code == 302
    assert app.fetch(query_of(answer.headers["Location"])["code"])["access_token"]


def test_anybody_can_be_typed_and_keeps_their_id(app: App) -> None:
    first = app.sign_in("Dave_1", "Dave Sample")
    assert first["username"] == "Dave_1" and first["name"] == "Dave Sample"
    assert first["id"].isdecimal()
    assert app.sign_in("@dave_1") == first
    assert app.sign_in("eve")["id"] != first["id"]


@pytest.mark.parametrize("username", ["with space", "sixteen_letters_", "né", ""])
def test_a_username_that_x_would_not_have_is_asked_for_again(app: App, username: str) -> None:
    fields = {"decision": "authorize", "username": username}
    answer = app.browser.post(app.address(), data=fields)
    assert answer.status_code == 400
    assert "Not so:" in answer.text and "Authorize app" in answer.text


def test_cancelling_is_told_to_the_app(app: App) -> None:
    assert app.press("cancel") == {"error": "access_denied", "state": app.state}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_type", "token"),
        ("client_id", "somebody-else"),
        ("redirect_uri", "https://elsewhere.example/callback"),
        ("redirect_uri", "http://127.0.0.1.elsewhere.example/"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", "http://[broken"),
        ("scope", "users.read everything"),
        ("scope", None),
        ("state", None),
        ("code_challenge", "short"),
        ("code_challenge_method", "plain"),
    ],
)
def test_a_wrong_request_is_refused_without_a_redirect(
    app: App, name: str, value: str | None
) -> None:
    given = query_of(app.address()) | {name: value}
    params = {key: text for key, text in given.items() if text is not None}
    for method in ("GET", "POST"):
        answer = app.browser.request(method, "/i/oauth2/authorize", params=params)
        assert answer.status_code == 400
        assert "Something went wrong" in answer.text and name in answer.text


def test_a_redirect_uri_keeps_its_own_query(app: App) -> None:
    params = query_of(app.address()) | {"redirect_uri": f"{BACK}?next=%2Fhome"}
    fields = {"decision": "cancel"}
    answer = app.browser.post("/i/oauth2/authorize", params=params, data=fields)
    assert query_of(answer.headers["Location"])["next"] == "/home"


def test_a_code_is_good_once(app: App) -> None:
    code = app.press(username="alice")["code"]
    app.fetch(code)
    with pytest.raises(OAuthError, match="authorization code was invalid"):
        app.fetch(code)


def test_a_code_is_good_for_thirty_seconds(app: App, clock: Clock) -> None:
    code = app.press(username="alice")["code"]
    clock.now += 29
    assert app.exchange(code).status_code == 200
    code = app.press(username="alice")["code"]
    clock.now += 31
    answer = app.exchange(code)
    assert (answer.status_code, answer.json()) == (400, WRONG_CODE)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "made-up"},
        {"code_verifier": "a" * 43},
        {"redirect_uri": "http://localhost/other"},
    ],
)
def test_a_code_needs_its_verifier_and_redirect_uri(app: App, change: dict[str, str]) -> None:
    code = app.press(username="alice")["code"]
    answer = app.exchange(**{"code": code, **change})
    assert (answer.status_code, answer.json()) == (400, WRONG_CODE)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_verifier": ""}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_token_request_must_be_complete(app: App, change: dict[str, str], error: str) -> None:
    answer = app.exchange(app.press(username="alice")["code"], **change)
    assert answer.status_code == 400
    assert answer.json()["error"] == error


def test_a_wrong_secret_is_refused_and_does_not_use_up_the_code(app: App) -> None:
    code = app.press(username="alice")["code"]
    right = app.session.client_secret
    app.session.client_secret = "wrong"
    answer = app.exchange(code)
    assert answer.status_code == 401
    assert answer.json()["error"] == "unauthorized_client"
    app.session.client_secret = right
    assert app.exchange(code).status_code == 200


def test_an_access_token_is_good_for_two_hours(app: App, clock: Clock) -> None:
    token = app.exchange(app.press(username="alice")["code"]).json()["access_token"]
    clock.now += 7199
    assert app.me(token).status_code == 200
    clock.now += 1
    assert app.me(token).status_code == 401


def test_a_refresh_token_is_good_once(app_with: Callable[[str], App], clock: Clock) -> None:
    app = app_with(f"{SCOPE} offline.access")
    first = app.fetch(app.press(username="alice")["code"])
    clock.now += 8000
    fields = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = app.exchange("", **fields).json()
    assert second["scope"] == f"{SCOPE} offline.access"
    assert app.me(second["access_token"]).json()["data"]["username"] == "alice"
    again = app.exchange("", **fields)
    assert again.status_code == 400
    assert again.json()["error_description"] == "Value passed for the token was invalid."
    assert second["refresh_token"] != first["refresh_token"]


def test_a_revoked_token_is_good_no_more(app: App) -> None:
    token = app.fetch(app.press(username="alice")["code"])["access_token"]
    for _ in range(2):
        url = f"{app.base}/2/oauth2/revoke"
        answer = app.session.revoke_token(url, token=token)  # type: ignore[no-untyped-call]
        assert answer.json() == {"revoked": True}
    assert app.me(token).status_code == 401


def test_without_a_token_nobody_is_told_of(app: App) -> None:
    for answer in (app.me("made-up"), app.browser.get("/2/users/me")):
        assert answer.status_code == 401
        assert answer.json() == {
            "title": "Unauthorized",
            "detail": "Unauthorized",
            "type": "about:blank",
            "status": 401,
        }


def test_who_somebody_is_needs_the_scopes_for_it(app_with: Callable[[str], App]) -> None:
    app = app_with("users.read")
    token = app.fetch(app.press(username="alice")["code"])["access_token"]
    assert app.me(token).status_code == 403


def test_an_unknown_field_is_a_problem(app: App) -> None:
    token = app.fetch(app.press(username="alice")["code"])["access_token"]
    answer = app.me(token, **{"user.fields": "name,shoe_size"})
    assert answer.status_code == 400
    assert answer.json()["title"] == "Invalid Request"
    assert answer.json()["errors"][0]["parameters"] == {"user.fields": ["shoe_size"]}


def test_a_renamed_person_keeps_their_id_and_their_token(app: App) -> None:
    token = app.fetch(app.press(username="alice")["code"])["access_token"]
    id_ = app.me(token).json()["data"]["id"]
    renaming = {"id": id_, "username": "alice_new", "name": "Alice New"}
    assert app.browser.post("/sandbox/rename", json=renaming).json() == renaming
    data = app.me(token).json()["data"]
    assert (data["id"], data["username"], data["name"]) == (id_, "alice_new", "Alice New")
    assert app.sign_in("alice")["id"] != id_


@pytest.mark.parametrize(
    "change", [{"username": "Bob_Builder"}, {"username": "no good"}, {"id": "1"}, {"shoe": "42"}]
)
def test_an_impossible_renaming_is_explained(app: App, change: dict[str, str]) -> None:
    renaming = {"id": app.sign_in("alice")["id"], "name": "Alice"} | change
    answer = app.browser.post("/sandbox/rename", json=renaming)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert app.sign_in("alice")["name"] == "Alice Example"


def test_people_codes_and_tokens_survive_a_restart(tmp_path: Path) -> None:
    def opened() -> tuple[World, Live, App]:
        world = open_world(tmp_path / "kept")
        live = Live(world, {"/x": x.blueprint})
        return world, live, App(live, httpx.Client(base_url=f"{live.url}/x", timeout=TIMEOUT_S))

    def close(world: World, live: Live, app: App) -> None:
        app.session.close()
        app.browser.close()
        live.close()
        close_world(world)

    before = opened()
    token = before[2].fetch(before[2].press(username="Zoe", name="Zoe")["code"])["access_token"]
    data = before[2].me(token).json()["data"]
    code = before[2].press(username="zoe")["code"]
    close(*before)
    after = opened()
    assert after[2].me(token).json()["data"] == data
    after[2].verifier = before[2].verifier
    assert after[2].fetch(code)["access_token"] != token
    close(*after)


def test_secrets_are_not_kept_as_they_are(app: App, live: Live) -> None:
    code = app.press(username="alice")["code"]
    token = app.fetch(app.press(username="alice")["code"])["access_token"]
    files = live.world.directory.glob("clouds.sqlite*")
    kept = b"".join(file.read_bytes() for file in files)
    assert b"x.access_token" in kept
    assert code.encode() not in kept and token.encode() not in kept


@pytest.mark.parametrize("status", [429, 503])
def test_faults_of_x_are_answered_instead(app: App, live: Live, status: int) -> None:
    rule = {"vendor": "x", "path": "/2/oauth2/token$", "status": status}
    assert app.browser.post(f"{live.url}/admin/faults", json=rule).status_code == 201
    code = app.press(username="alice")["code"]
    answer = app.exchange(code)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert app.exchange(code).status_code == 200


def test_a_time_out_of_x_is_no_answer_at_all(app: App, live: Live) -> None:
    rule = {"vendor": "x", "path": "/2/users/me$", "kind": "timeout"}
    app.browser.post(f"{live.url}/admin/faults", json=rule)
    with pytest.raises(httpx.RemoteProtocolError):
        app.me("any")
