"""Hetzner Cloud's API, version 1 (docs.hetzner.cloud), as far as Clawdet and the official clients
use it. State is in the world's store, machines are the world's."""

import hmac
import logging

from flask import Blueprint, Flask, Response, g, jsonify, request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from sandbox.clouds.hetzner.actions import Actions, ActionViews
from sandbox.clouds.hetzner.catalog_views import CatalogViews
from sandbox.clouds.hetzner.cloud import Cloud, correlation_id
from sandbox.clouds.hetzner.errors import ApiError
from sandbox.clouds.hetzner.firewalls import Firewalls
from sandbox.clouds.hetzner.images import Images
from sandbox.clouds.hetzner.limits import RateLimit
from sandbox.clouds.hetzner.primary_ips import PrimaryIps
from sandbox.clouds.hetzner.server_actions import ServerActions
from sandbox.clouds.hetzner.server_work import WORK, settle
from sandbox.clouds.hetzner.servers import Servers
from sandbox.clouds.hetzner.ssh_keys import SshKeys
from sandbox.clouds.world import World

NAME = "hetzner"
log = logging.getLogger(__name__)


def blueprint(world: World) -> Blueprint:
    """The service, to be mounted under `/v1`. Takes up the actions that an earlier process left
    running as soon as it is mounted; `close(app)` ends it in order."""
    cloud = Cloud(world)
    actions = Actions(cloud, WORK, settle)
    service = Blueprint(NAME, __name__)
    parts = (
        ActionViews(cloud, actions),
        CatalogViews(cloud),
        SshKeys(cloud),
        Firewalls(cloud, actions),
        Images(cloud, actions),
        PrimaryIps(cloud, actions),
        Servers(cloud, actions),
        ServerActions(cloud, actions),
    )
    for part in parts:
        for method, rule, view in part.routes():
            endpoint = f"{method.lower()}:{rule.replace('.', '_')}"
            service.add_url_rule(rule, endpoint, view, methods=[method])
    _guard(service, world)

    def mounted(state: BlueprintSetupState) -> None:
        state.app.extensions[NAME] = actions
        actions.resume()

    service.record_once(mounted)
    return service


def close(app: Flask, timeout_s: float = 10.0) -> bool:
    """Let the service's running actions end and begin none; the next process resumes the rest.

    Call before the store is closed. Whether the work under way ended in time.
    """
    actions: Actions = app.extensions[NAME]
    return actions.close(timeout_s)


def _guard(service: Blueprint, world: World) -> None:
    """Token, rate limit, headers and the vendor's form of every error."""
    limit = RateLimit()
    expected = f"Bearer {world.credentials.hetzner_token}".encode()
    prefix = ""

    def remember_prefix(state: BlueprintSetupState) -> None:
        nonlocal prefix
        prefix = f"{state.url_prefix}/"

    def admit() -> ResponseReturnValue | None:
        if request.blueprint != NAME and not _is_ours(prefix):
            return None
        g.hetzner_headers = {"X-Correlation-Id": correlation_id()}
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
            return _answer(ApiError(401, "unauthorized", "unable to authenticate"))
        allowance = limit.take(Cloud(world).requests_per_hour())
        g.hetzner_headers |= allowance.headers()
        if not allowance.granted:
            message = "limit of requests per hour exceeded"
            return _answer(ApiError(429, "rate_limit_exceeded", message))
        if isinstance(request.routing_exception, HTTPException):
            return _answer(_no_route(request.routing_exception))
        return None

    def add_headers(response: Response) -> Response:
        response.headers.update(g.pop("hetzner_headers", {}))
        return response

    service.record_once(remember_prefix)
    service.before_app_request(admit)
    service.after_app_request(add_headers)
    service.register_error_handler(ApiError, _answer)
    service.register_error_handler(Exception, _unexpected)


def _is_ours(prefix: str) -> bool:
    """Whether a request that fits no route is for this service."""
    return request.routing_exception is not None and request.path.startswith(prefix)


def _no_route(error: HTTPException) -> ApiError:
    if isinstance(error, MethodNotAllowed):
        return ApiError(405, "method_not_allowed", "method not allowed")
    return ApiError(404, "not_found", "the requested endpoint does not exist")


def _answer(error: ApiError) -> ResponseReturnValue:
    return jsonify(error.body()), error.status


def _unexpected(error: Exception) -> ResponseReturnValue:
    log.error("the Hetzner service failed", exc_info=error)
    return _answer(ApiError(500, "server_error", "an unexpected error occurred"))
