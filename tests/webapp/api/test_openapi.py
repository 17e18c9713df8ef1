import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from stacks.settings import CHECKOUT
from tests.webapp.conftest import SignInAs, csrf
from webapp import clock
from webapp.accounts.models import User
from webapp.accounts.terms import TERMS_VERSION
from webapp.api.openapi import CSRF_HEADER, routes
from webapp.api.operations import OPERATIONS
from webapp.database import Database
from webapp.http.sessions import COOKIE
from webapp.instances.models import Instance

EXAMPLES = 4
GENERATION = {
    "deterministic": True,
    "database": "none",
    "max-examples": EXAMPLES,
    "with-security-parameters": False,
}
CONFIGURATION: dict[str, Any] = {
    "seed": 1,
    "generation": GENERATION,
    "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", 503]}},
}


@dataclass(frozen=True)
class Caller:
    """What somebody's requests carry."""

    session: str = ""
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def test_the_document_is_valid(client: FlaskClient) -> None:
    answer = client.get("/api/openapi.json")
    assert answer.content_type == "application/json"
    assert answer.get_json()["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(answer.get_json()).validate()


def test_every_api_route_is_described_and_nothing_else_is(app: Flask) -> None:
    assert {rule.endpoint for rule, _ in routes(app)} == set(OPERATIONS)


def test_every_api_route_is_in_the_docs_and_nothing_else_is(client: FlaskClient) -> None:
    told = re.findall(r"`([A-Z]+ /api/[^`]+)`", (CHECKOUT / "docs/api.md").read_text())
    assert set(told) == {f"{method} {path}" for path, method, _ in _operations(client)}


def test_the_document_names_this_server(client: FlaskClient) -> None:
    (server,) = client.get("/api/openapi.json").get_json()["servers"]
    assert server == {"url": "http://localhost:8000"}


def test_what_is_for_who_has_signed_in_is_what_refuses_others(app: Flask) -> None:
    client = app.test_client()
    headers = {CSRF_HEADER: csrf(client)}
    for path, method, told in _operations(client):
        answer = client.open(path, method=method, headers=headers)
        assert ("session" in str(told["security"])) == (answer.status_code == 401), path


def test_what_says_that_it_needs_a_token_refuses_without(
    client: FlaskClient, sign_in: SignInAs
) -> None:
    sign_in(client)
    for path, method, told in _operations(client):
        needs = CSRF_HEADER in [one["name"] for one in told.get("parameters", [])]
        answer = client.open(path, method=method)
        forged = answer.is_json and answer.get_json().get("code") == "csrf"
        assert needs == forged, path


def test_the_page_for_people_names_every_endpoint_and_model(client: FlaskClient) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    for path, method, _ in _operations(client):
        assert f"{method} {path}" in page.text
    for name, schema in client.get("/api/openapi.json").get_json()["components"]["schemas"].items():
        if "properties" in schema:
            assert f'id="{name}"' in page.text


def test_answers_to_nobody_are_as_described(app: Flask, subtests: pytest.Subtests) -> None:
    client = app.test_client()
    token = csrf(client)
    _try_everything(app, Caller(cookies=_cookies(client), headers={CSRF_HEADER: token}), subtests)


def test_answers_to_a_forger_are_as_described(app: Flask, subtests: pytest.Subtests) -> None:
    _try_everything(app, Caller(session="of-somebody-else"), subtests)


def test_answers_to_who_has_just_signed_in_are_as_described(
    app: Flask, client: FlaskClient, sign_in: SignInAs, subtests: pytest.Subtests
) -> None:
    sign_in(client)
    _try_everything(app, _caller(client), subtests)


def test_answers_to_who_can_pay_are_as_described(
    app: Flask, client: FlaskClient, sign_in: SignInAs, db: Database, subtests: pytest.Subtests
) -> None:
    _give_details(db, sign_in(client).id)
    _try_everything(app, _caller(client), subtests)


def test_answers_to_whose_assistant_has_failed_are_as_described(
    app: Flask, client: FlaskClient, sign_in: SignInAs, db: Database, subtests: pytest.Subtests
) -> None:
    user = sign_in(client)
    _give_details(db, user.id)
    with db.begin() as session:
        found = session.get_one(User, user.id)
        found.payment_method, found.paid_at = "manual", clock.now()
        session.add(Instance(user_id=user.id, slug="alice", status="failed", failed_step="wait"))
    _try_everything(app, _caller(client), subtests)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_the_answer_to_a_question_is_as_described(
    app: Flask, client: FlaskClient, accept: str
) -> None:
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    headers = {CSRF_HEADER: csrf(client), "Accept": accept}
    case = schema["/api/trial-chat"]["POST"].Case(body={"message": "Hello"}, headers=headers)
    answer = case.call_and_validate(cookies=_cookies(client))
    assert (answer.status_code, answer.headers["content-type"][0].split(";")[0]) == (200, accept)


def _try_everything(app: Flask, caller: Caller, subtests: pytest.Subtests) -> None:
    """Every endpoint with data that fits and data that does not."""
    configuration = CONFIGURATION
    if caller.session:
        auth = {"openapi": {"session": {"api_key": caller.session}}}
        configuration = CONFIGURATION | {"auth": auth}
    schema = schemathesis.openapi.from_wsgi(
        "/api/openapi.json", app, config=SchemathesisConfig.from_dict(configuration)
    )
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            with subtests.test(operation.label, mode=mode.value), suppress(Unsatisfiable):
                _try(operation, mode, caller)


def _try(operation: Any, mode: GenerationMode, caller: Caller) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def answers_as_described(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(
            cookies=caller.cookies,
            headers=caller.headers,
            # Whether something is accepted depends on more than its form: signatures, allowances.
            excluded_checks=[positive_data_acceptance],
        )

    answers_as_described()


def _caller(client: FlaskClient) -> Caller:
    token = csrf(client)
    cookies = _cookies(client)
    return Caller(cookies.pop(COOKIE), cookies, {CSRF_HEADER: token})


def _cookies(client: FlaskClient) -> dict[str, str]:
    found = {name: client.get_cookie(name) for name in (COOKIE, "clawdet")}
    return {name: cookie.value for name, cookie in found.items() if cookie}


def _give_details(db: Database, user_id: str) -> None:
    with db.begin() as session:
        user = session.get_one(User, user_id)
        user.email, user.email_verified_at = "alice@example.com", clock.now()
        user.terms_version, user.terms_accepted_at = TERMS_VERSION, clock.now()


def _operations(client: FlaskClient) -> list[tuple[str, str, dict[str, Any]]]:
    paths = client.get("/api/openapi.json").get_json()["paths"]
    return [
        (path, method.upper(), told)
        for path, methods in paths.items()
        for method, told in methods.items()
    ]
