"""What every answer has in common: headers, errors, sizes; and how the application is made."""

import io
import re
from collections.abc import Iterator

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from tests.webapp.conftest import SignInAs, csrf
from tests.webapp.test_routes import MARKS, routes
from webapp.app import MAX_BODY_BYTES, create_app
from webapp.database import Database
from webapp.http.context import EXTENSION, Clawdet
from webapp.http.sessions import COOKIE
from webapp.settings import WebSettings

SECRET = "sk-ant-" + "a" * 40
TOO_LARGE = b"x" * (MAX_BODY_BYTES + 1)


class Broken(Exception):
    """Nothing that the application knows."""


@pytest.fixture
def broken(app: Flask) -> FlaskClient:
    """A browser of an application with a bug, at /broken and /api/broken."""

    def view() -> str:
        raise Broken(f"with {SECRET} in {__file__}")

    app.add_url_rule("/broken", "broken", view)
    app.add_url_rule("/api/broken", "api_broken", view)
    return app.test_client()


@pytest.fixture
def make_app(settings: WebSettings, outside: requests.Session) -> Iterator["MakeApp"]:
    """Applications with other settings."""
    made = MakeApp(settings)
    yield made
    made.close()


class MakeApp:
    """Makes applications, and closes them."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._made: list[Flask] = []

    def __call__(self, **other: object) -> Flask:
        app = create_app(self._settings.model_copy(update=other))
        self._made.append(app)
        return app

    def close(self) -> None:
        """Close what each has open."""
        for app in self._made:
            context: Clawdet = app.extensions[EXTENSION]
            context.jobs.close()
            context.db.close()


# -- headers --------------------------------------------------------------------------------------


def test_every_answer_carries_the_headers_that_protect(
    app: Flask, client: FlaskClient, sign_in: SignInAs, subtests: pytest.Subtests
) -> None:
    sign_in(client)
    for browser in (app.test_client(), client):
        for endpoint, method, path in routes(app, MARKS):
            with subtests.test(endpoint, method=method):
                answer = browser.open(path, method=method)
                _check_headers(answer)
                assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/nowhere", "/api/nowhere", "/static/../webapp/app.py"])
def test_answers_of_no_route_carry_them_too(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    _check_headers(answer)


def test_static_files_may_be_kept(client: FlaskClient) -> None:
    links = re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/").text)
    assert links
    for link in links:
        with client.get(link) as answer:
            assert answer.status_code == 200
            assert "max-age=" in answer.headers["Cache-Control"]
            _check_headers(answer)


def test_a_static_file_that_is_missing_is_not_missing_for_long(client: FlaskClient) -> None:
    answer = client.get("/static/not-there-yet.css?v=0123456789")
    assert answer.status_code == 404
    assert answer.headers["Cache-Control"] == "no-store"


def test_every_request_has_a_number_of_its_own(client: FlaskClient) -> None:
    numbers = {client.get("/healthz").headers["X-Request-Id"] for _ in range(5)}
    assert len(numbers) == 5


def test_a_callers_own_number_is_not_believed(client: FlaskClient) -> None:
    answer = client.get("/healthz", headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] != "mine"


# -- errors ---------------------------------------------------------------------------------------


def test_error_pages_look_like_the_rest(client: FlaskClient, subtests: pytest.Subtests) -> None:
    answers = {
        400: client.post("/sign-out"),
        401: client.post("/billing/portal", headers={"X-CSRFToken": csrf(client)}),
        404: client.get("/nowhere"),
        405: client.get("/sign-out"),
        413: client.post("/trial", data={"csrf_token": csrf(client), "message": TOO_LARGE}),
    }
    for status, answer in answers.items():
        with subtests.test(status=status):
            _check_page(answer, status)


def test_errors_of_the_api_are_problem_documents(
    client: FlaskClient, subtests: pytest.Subtests
) -> None:
    headers = {"X-CSRFToken": csrf(client)}
    answers = {
        400: client.post("/api/trial-chat", data=b"{", headers=headers),
        401: client.get("/api/me"),
        404: client.get("/api/nowhere"),
        405: client.get("/api/trial-chat"),
        413: client.post("/api/trial-chat", data=TOO_LARGE, headers=headers),
    }
    for status, answer in answers.items():
        with subtests.test(status=status):
            _check_problem(answer, status)


def test_too_much_at_once_is_told_to_people_and_programs(make_app: MakeApp) -> None:
    app = make_app(clawdet_sign_in_limit="1 per hour", clawdet_trial_limit="1 per hour")
    client = app.test_client()
    headers = {"X-CSRFToken": csrf(client)}
    client.get("/api/auth/x/login")
    _check_page(client.get("/api/auth/x/login"), 429)
    client.post("/api/trial-chat", data=b"{}", headers=headers)
    answer = client.post("/api/trial-chat", data=b"{}", headers=headers)
    _check_problem(answer, 429)
    assert 0 < int(answer.headers["Retry-After"]) <= 3600


def test_a_bug_is_told_without_what_it_was(broken: FlaskClient) -> None:
    page, problem = broken.get("/broken"), broken.get("/api/broken")
    _check_page(page, 500)
    _check_problem(problem, 500)
    for answer in (page, problem):
        shown = answer.text + str(answer.headers)
        assert not [w for w in (SECRET, "Broken", "Traceback", "test_app", ".py") if w in shown]


def test_a_bug_is_logged_without_secrets_under_the_number_that_is_shown(
    broken: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    number = broken.get("/broken").headers["X-Request-Id"]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Broken" in line]
    assert number in line
    assert SECRET not in line


def test_an_error_page_of_ours_needs_no_database(
    client: FlaskClient, sign_in: SignInAs, db: Database
) -> None:
    sign_in(client)
    with db.begin() as session:
        session.execute(text("ALTER TABLE sign_ins RENAME TO elsewhere"))
    _check_page(client.get("/settings"), 503)
    _check_problem(client.get("/api/me"), 503)


@pytest.mark.parametrize("path", ["/api/trial-chat", "/api/webhooks/stripe", "/api/payment/portal"])
def test_too_large_a_body_is_refused_by_the_api(client: FlaskClient, path: str) -> None:
    headers = {"X-CSRFToken": csrf(client)}
    answer = client.post(path, data=TOO_LARGE, headers=headers)
    assert answer.status_code in (401, 413)
    _check_problem(answer, answer.status_code)


def test_a_large_body_that_is_not_announced_is_refused(client: FlaskClient) -> None:
    answer = client.post(
        "/api/trial-chat",
        input_stream=io.BytesIO(TOO_LARGE),
        headers={"X-CSRFToken": csrf(client), "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code in (400, 413)  # read to the limit, which may cut it short
    _check_problem(answer, answer.status_code)


# -- making it ------------------------------------------------------------------------------------


def test_with_tls_cookies_are_secure_and_browsers_told_to_keep_to_it(make_app: MakeApp) -> None:
    answer = make_app(clawdet_web_url="https://clawdet.com").test_client().get("/")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    cookies = answer.headers.getlist("Set-Cookie")
    assert cookies
    assert all("; Secure" in cookie and "; HttpOnly" in cookie for cookie in cookies)


def test_without_tls_browsers_are_not_told_so(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/").headers


def test_the_sessions_cookie_is_kept_from_scripts_and_other_sites(
    client: FlaskClient, sign_in: SignInAs
) -> None:
    sign_in(client)
    cookie = client.get_cookie(COOKIE)
    assert cookie
    assert cookie.http_only
    assert cookie.same_site == "Strict"


@pytest.mark.parametrize(("trusted", "limited"), [(0, True), (1, False)])
def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(
    make_app: MakeApp, trusted: int, limited: bool
) -> None:
    app = make_app(clawdet_trusted_proxies=trusted, clawdet_sign_in_limit="1 per hour")
    client = app.test_client()
    client.get("/api/auth/x/login", headers={"X-Forwarded-For": "192.0.2.1"})
    answer = client.get("/api/auth/x/login", headers={"X-Forwarded-For": "192.0.2.2"})
    assert (answer.status_code == 429) is limited


def test_it_says_that_it_lives(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def _check_headers(answer: Response) -> None:
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Referrer-Policy"]
    assert "Werkzeug" not in answer.headers.get("Server", "")


def _check_page(answer: TestResponse, status: int) -> None:
    assert answer.status_code == status
    assert answer.content_type == "text/html; charset=utf-8"
    for part in ('class="site-header"', 'class="site-footer"', "<h1>", "clawdet.css"):
        assert part in answer.text
    assert answer.headers["X-Request-Id"] in answer.text
    _check_headers(answer)


def _check_problem(answer: TestResponse, status: int) -> None:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    told = answer.get_json()
    assert told["status"] == status
    assert told["title"] and told["detail"] and told["code"]
    assert told["requestId"] == answer.headers["X-Request-Id"]
    _check_headers(answer)
