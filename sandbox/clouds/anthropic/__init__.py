"""Anthropic's Messages API with a pretend model: it answers "You said: " and the last user text.

The protocol is the vendor's (version 2023-06-01: headers, validation, errors, streaming events);
the intelligence is not. The echo lets a check read that what was asked went all the way through.
"""

import hmac
import secrets

from flask import Blueprint, Response, g, jsonify, request
from pydantic import ValidationError

from sandbox.clouds.anthropic import models, streaming
from sandbox.clouds.anthropic.answers import answer
from sandbox.clouds.anthropic.errors import ApiError, failure
from sandbox.clouds.anthropic.requests import MessagesRequest, explain
from sandbox.clouds.world import World


def blueprint(world: World) -> Blueprint:
    """The API under the prefix that it is registered with, which is the clients' base URL."""
    api = Blueprint("anthropic", __name__)
    api.register_error_handler(ApiError, failure)
    api.before_request(_name_request)
    api.before_request(lambda: _authenticate(world.credentials.anthropic_key))
    api.after_request(_tell_request_id)
    api.add_url_rule("/v1/messages", view_func=_create_message, methods=["POST"])
    api.add_url_rule("/v1/models", view_func=_list_models)
    api.add_url_rule("/v1/models/<model_id>", view_func=_get_model)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    api.add_url_rule("/<path:path>", view_func=_no_route, methods=methods)
    return api


def _name_request() -> None:
    g.anthropic_request_id = f"req_{secrets.token_hex(12)}"


def _tell_request_id(response: Response) -> Response:
    if "anthropic_request_id" in g:  # a fault answers before the request has a name
        response.headers["request-id"] = g.anthropic_request_id
    return response


def _authenticate(key: str) -> None:
    """A key comes as a bearer token, as its SDK sends it, or in x-api-key."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    given = request.headers.get("x-api-key") or bearer
    if not given:
        raise ApiError(401, "authentication_error", "x-api-key header is required")
    if not hmac.compare_digest(given.encode(), key.encode()):
        raise ApiError(401, "authentication_error", "invalid x-api-key")
    if not request.headers.get("anthropic-version"):
        raise ApiError(400, "invalid_request_error", "anthropic-version: header is required")


def _create_message() -> Response:
    try:
        asked = MessagesRequest.model_validate_json(request.get_data())
    except ValidationError as error:
        raise ApiError(400, "invalid_request_error", explain(error)) from error
    models.find(asked.model)
    message = answer(asked)
    if not asked.stream:
        return jsonify(message.body())
    return Response(
        streaming.events(message),
        mimetype="text/event-stream",
        headers={"Cache-Control": "no-cache"},
    )


def _list_models() -> Response:
    data = [model.body() for model in models.MODELS]
    body = {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return jsonify(body)


def _get_model(model_id: str) -> Response:
    return jsonify(models.find(model_id).body())


def _no_route(path: str) -> Response:
    del path
    raise ApiError(404, "not_found_error", "Not Found")
