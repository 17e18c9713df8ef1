"""Every route of the application, whatever it is for: who may call it, and how."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient

from tests.webapp.conftest import SignInAs, csrf
from webapp.accounts.models import Role, User
from webapp.database import Base, Database
from webapp.http.access import MARK

MARKS = {"public", "signed_in", "operators", "operators_only"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CSRF_EXEMPT = {"billing.stripe_webhook"}


def routes(app: Flask, marks: set[str]) -> Iterator[tuple[str, str, str]]:
    """Endpoint, method and a path of each route with one of the marks; parameters made up."""
    for rule in app.url_map.iter_rules():
        mark = getattr(app.view_functions[rule.endpoint], MARK, None)
        if mark not in marks:
            continue
        made_up: dict[str, Any] = dict.fromkeys(rule.arguments, 1)
        with app.test_request_context():
            path = url_for(rule.endpoint, **made_up)
        for method in sorted((rule.methods or set()) & set(METHODS)):
            yield rule.endpoint, method, path


def make(db: Database, user: User, role: Role) -> None:
    """Give somebody a role."""
    with db.begin() as session:
        session.get_one(User, user.id).role = role


def test_every_route_says_who_may_call_it(app: Flask, subtests: pytest.Subtests) -> None:
    for endpoint, view in app.view_functions.items():
        if endpoint != "static":
            with subtests.test(endpoint):
                assert getattr(view, MARK, None) in MARKS


def test_who_has_not_signed_in_is_led_to_the_sign_in(
    app: Flask, client: FlaskClient, subtests: pytest.Subtests
) -> None:
    for endpoint, method, path in routes(app, MARKS - {"public"}):
        if method == "GET" and not path.startswith("/api/"):
            with subtests.test(endpoint):
                answer = client.get(path)
                assert answer.status_code in (302, 303)
                assert answer.headers["Location"] == f"/sign-in?next={path}"


def test_programs_that_have_not_signed_in_are_told(
    app: Flask, client: FlaskClient, subtests: pytest.Subtests
) -> None:
    headers = {"X-CSRFToken": csrf(client)}
    for endpoint, method, path in routes(app, MARKS - {"public"}):
        if path.startswith("/api/"):
            with subtests.test(endpoint):
                answer = client.open(path, method=method, headers=headers)
                assert answer.content_type == "application/problem+json"
                assert (answer.status_code, answer.get_json()["code"]) == (401, "sign_in_needed")


def test_a_change_without_a_sign_in_is_refused_and_nothing_changes(
    app: Flask, client: FlaskClient, db: Database, subtests: pytest.Subtests
) -> None:
    headers = {"X-CSRFToken": csrf(client)}
    before = _everything(db)
    for endpoint, method, path in routes(app, MARKS - {"public"}):
        if method != "GET":
            with subtests.test(endpoint):
                assert client.open(path, method=method, headers=headers).status_code == 401
                assert _everything(db) == before


def test_a_session_of_nobody_is_nobodys(app: Flask, client: FlaskClient) -> None:
    client.set_cookie("user_session", "0" * 64)
    assert client.get("/api/me").status_code == 401
    assert client.get("/settings").status_code in (302, 303)


def test_for_customers_there_is_no_fleet(
    app: Flask,
    client: FlaskClient,
    sign_in: SignInAs,
    db: Database,
    subtests: pytest.Subtests,
) -> None:
    sign_in(client)
    headers = {"X-CSRFToken": csrf(client)}
    before = _everything(db)
    for endpoint, method, path in routes(app, {"operators", "operators_only"}):
        with subtests.test(endpoint, method=method):
            answer = client.open(path, method=method, headers=headers)
            assert answer.status_code == 404
            assert "/fleet" not in answer.text
    assert _everything(db) == before


def test_viewers_of_the_fleet_change_nothing(
    app: Flask,
    client: FlaskClient,
    sign_in: SignInAs,
    db: Database,
    subtests: pytest.Subtests,
) -> None:
    make(db, sign_in(client), "viewer")
    assert client.get("/fleet").status_code == 200
    headers = {"X-CSRFToken": csrf(client)}
    before = _everything(db)
    for endpoint, method, path in routes(app, {"operators", "operators_only"}):
        if method != "GET":
            with subtests.test(endpoint):
                answer = client.open(path, method=method, headers=headers)
                assert answer.status_code == 404
    assert _everything(db) == before


def test_nothing_of_the_fleet_changes_by_looking(app: Flask) -> None:
    for endpoint, method, _ in routes(app, {"operators_only"}):
        assert method != "GET", endpoint
    for endpoint, method, _ in routes(app, {"operators"}):
        assert method == "GET", endpoint


def test_a_change_without_a_token_of_ours_is_refused_and_nothing_changes(
    app: Flask,
    client: FlaskClient,
    sign_in: SignInAs,
    db: Database,
    subtests: pytest.Subtests,
) -> None:
    make(db, sign_in(client), "admin")
    stolen = {"X-CSRFToken": csrf(app.test_client())}
    before = _everything(db)
    for endpoint, method, path in routes(app, MARKS):
        if method == "GET" or endpoint in CSRF_EXEMPT:
            continue
        for headers in ({}, stolen):
            with subtests.test(endpoint, stolen=bool(headers)):
                answer = client.open(path, method=method, headers=headers)
                assert answer.status_code == 400
                assert "too old, or not ours" in answer.text
    assert _everything(db) == before
    assert client.get("/api/me").status_code == 200


def test_the_webhook_needs_a_signature_instead_of_a_token(
    client: FlaskClient, db: Database
) -> None:
    before = _everything(db)
    for headers in ({}, {"Stripe-Signature": "t=1,v1=00"}):
        answer = client.post("/api/webhooks/stripe", data=b"{}", headers=headers)
        assert answer.status_code == 400
        assert answer.content_type == "application/problem+json"
    assert _everything(db) == before


def test_a_wrong_method_is_refused_with_the_right_ones(
    app: Flask, client: FlaskClient, subtests: pytest.Subtests
) -> None:
    allowed: dict[str, set[str]] = {}
    for _, method, path in routes(app, MARKS):
        allowed.setdefault(path, set()).add(method)
    for path, methods in allowed.items():
        for method in set(METHODS) - methods:
            with subtests.test(path, method=method):
                answer = client.open(path, method=method)
                assert answer.status_code == 405
                assert set(answer.headers["Allow"].split(", ")) & set(METHODS) == methods


def test_pages_and_answers_hold_for_an_admin(
    app: Flask, client: FlaskClient, sign_in: SignInAs, db: Database, subtests: pytest.Subtests
) -> None:
    make(db, sign_in(client), "admin")
    for endpoint, method, path in routes(app, MARKS):
        if method == "GET":
            with subtests.test(endpoint):
                answer = client.get(path)
                assert answer.status_code in (200, 303, 400, 404)


def _everything(db: Database) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with db.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(table.select())]
            for table in Base.metadata.sorted_tables
        }
