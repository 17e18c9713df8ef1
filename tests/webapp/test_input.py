"""What nobody's browser sends: it is refused or ignored, on either database, and breaks nothing."""

import json
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.webapp.conftest import SignInAs, csrf
from tests.webapp.test_routes import MARKS, make, routes
from webapp.database import Database

STRANGE = ("", "0", "-1", "9" * 40, "x" * 3000, "nul\x00", "\u0661", "%", "' OR 1=1 --", "[]")
QUERY = ("page", "q", "state", "sort", "paid", "unhandled", "id", "after", "next", "session_id")
FORM = ("message", "email", "slug", "terms", "confirm", "power", "kind", "reason", "role", "why")
BODIES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b"{}",
    b'{"message": null}',
    b'{"message": 1}',
    b'{"message": ["a"]}',
    b'{"message": ""}',
    b'{"message": "\\ud800"}',
    b'{"message": "\xff"}',
    b"[" * 100_000,
    b'{"message": ' + b"9" * 10_000 + b"}",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """Either database: what one takes, the other may not."""
    if request.param == "sqlite":
        return database_url
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def admin(client: FlaskClient, sign_in: SignInAs, db: Database) -> FlaskClient:
    """Somebody whom every route lets in."""
    make(db, sign_in(client), "admin")
    return client


def test_strange_questions_break_nothing(
    app: Flask, admin: FlaskClient, subtests: pytest.Subtests
) -> None:
    for endpoint, path in _paths(app, "GET"):
        for value in STRANGE:
            with subtests.test(endpoint, value=value[:10]):
                answer = admin.get(path, query_string=dict.fromkeys(QUERY, value))
                assert answer.status_code < 500


def test_strange_headers_break_nothing(
    app: Flask, admin: FlaskClient, subtests: pytest.Subtests
) -> None:
    for endpoint, path in _paths(app, "GET"):
        for value in ("", "9" * 40, "%00", "text/event-stream; q=x", "\xff"):
            with subtests.test(endpoint, value=value[:10]):
                names = ("Accept", "Last-Event-ID", "User-Agent", "Referer", "If-None-Match")
                answer = admin.get(path, headers=dict.fromkeys(names, value))
                assert answer.status_code < 500


def test_strange_forms_break_nothing(
    app: Flask, admin: FlaskClient, subtests: pytest.Subtests
) -> None:
    for endpoint, path in _paths(app, "POST"):
        for value in STRANGE:
            with subtests.test(endpoint, value=value[:10]):
                token = {"csrf_token": csrf(admin)}
                answer = admin.post(path, data=dict.fromkeys(FORM, value) | token)
                assert answer.status_code < 500 or answer.status_code == 503


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:24].decode("latin-1"))
def test_json_that_is_not_a_question_is_refused(client: FlaskClient, body: bytes) -> None:
    headers = {"X-CSRFToken": csrf(client)}
    answer = client.post(
        "/api/trial-chat", data=body, headers=headers, content_type="application/json"
    )
    assert answer.status_code in (400, 422)
    assert answer.content_type == "application/problem+json"
    assert json.loads(answer.data)["detail"]


def _paths(app: Flask, method: str) -> Iterator[tuple[str, str]]:
    for endpoint, allowed, path in routes(app, MARKS):
        if allowed == method:
            yield endpoint, path
