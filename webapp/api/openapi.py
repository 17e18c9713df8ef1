"""The OpenAPI document, made from the application's routes and the features' models."""

import re
from collections.abc import Iterator
from inspect import getdoc
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from webapp.api.operations import OPERATIONS, Answer, Operation
from webapp.api.schema import Problem
from webapp.http.access import MARK
from webapp.http.sessions import COOKIE

PREFIX = "/api/"
REFERENCE = "#/components/schemas/"
CSRF_HEADER = "X-CSRFToken"
WALKED = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

ABOUT = """\
People sign in with X in a browser, which keeps the session's cookie; the API is for pages and for
programs that act for whoever is signed in. A POST carries the CSRF token of any page (its
`<meta name="csrf-token">`) in `X-CSRFToken`, with the cookie `clawdet` that came with that page.
Errors are problem documents (RFC 9457)."""

ERRORS = {
    400: "What was sent makes no sense, or its CSRF token is missing or too old.",
    401: "Nobody is signed in.",
    402: "This needs a payment first.",
    404: "There is no such thing, or none that is theirs.",
    409: "Not possible as things stand; `detail` says what it takes.",
    413: "The body is too large.",
    429: "An allowance or a limit is used up.",
    503: "A company we depend on does not answer as it should. Trying again later may help.",
}


class _Untitled(GenerateJsonSchema):
    """Fields have names; titles made of them say nothing more."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """For pydantic."""
        del schema
        return False


def routes(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every endpoint below /api/, with each of its methods, in the order of OPERATIONS."""
    places = {endpoint: place for place, endpoint in enumerate(OPERATIONS)}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: places.get(rule.endpoint, -1)):
        if rule.rule.startswith(PREFIX):
            for method in sorted((rule.methods or set()) & WALKED):
                yield rule, method


def document(app: Flask, url: str) -> dict[str, Any]:
    """The document, for a server at `url`. KeyError for a route that OPERATIONS does not have."""
    paths: dict[str, dict[str, Any]] = {}
    for rule, method in routes(app):
        path = paths.setdefault(_template(rule.rule), {})
        path[method.lower()] = _operation(app, rule, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Clawdet", "version": "1", "description": ABOUT},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _operation(app: Flask, rule: Rule, method: str) -> dict[str, Any]:
    view, told = app.view_functions[rule.endpoint], OPERATIONS[rule.endpoint]
    is_public = getattr(view, MARK) == "public"
    takes_token = method != "GET" and not told.is_csrf_exempt
    found: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join((getdoc(view) or "").split("\n\n")[0].split()),
        "security": [] if is_public else [{"session": []}],
        "responses": _responses(told, _errors(told, is_public, takes_token, method)),
    }
    if told.more:
        found["description"] = told.more
    if parameters := _parameters(told, takes_token):
        found["parameters"] = parameters
    if told.body:
        content = {"application/json": {"schema": _reference(told.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _errors(told: Operation, is_public: bool, takes_token: bool, method: str) -> list[int]:
    found = set(told.errors)
    if not is_public:
        found.add(401)
    if takes_token:
        found.add(400)
    if method != "GET":
        found.add(413)
    return sorted(found)


def _responses(told: Operation, errors: list[int]) -> dict[str, Any]:
    found = {str(status): _answer(answer) for status, answer in told.answers.items()}
    schema = _reference(Problem) if told.problems.endswith("json") else {"type": "string"}
    for status in errors:
        content = {told.problems: {"schema": schema}}
        found[str(status)] = {"description": ERRORS[status], "content": content}
    return found


def _answer(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.meaning}
    if answer.content:
        found["content"] = {
            media: {"schema": _reference(model) if model else _anything(media)}
            for media, model in answer.content.items()
        }
    if answer.headers:
        found["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in answer.headers.items()
        }
    return found


def _anything(media: str) -> dict[str, str]:
    return {"type": "object" if media.endswith("json") else "string"}


def _parameters(told: Operation, takes_token: bool) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found: list[dict[str, Any]] = [
        {"name": one.name, "in": one.place, "description": one.meaning, "schema": text}
        for one in told.parameters
    ]
    if takes_token:
        meaning = "the CSRF token"
        found.append(
            {
                "name": CSRF_HEADER,
                "in": "header",
                "required": True,
                "description": meaning,
                "schema": text,
            }
        )
    return found


def _schemas() -> dict[str, Any]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Problem, "serialization")]
    for told in OPERATIONS.values():
        models = [model for one in told.answers.values() for model in one.content.values()]
        wanted += [(model, "serialization") for model in (*models, *told.events) if model]
        if told.body:
            wanted.append((told.body, "validation"))
    _, found = models_json_schema(
        list(dict.fromkeys(wanted)),
        ref_template=REFERENCE + "{model}",
        schema_generator=_Untitled,
    )
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE + model.__name__}


def _template(rule: str) -> str:
    """Flask's /thing/<id> as OpenAPI's /thing/{id}."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
