"""Cloudflare API v4, as far as Clawdet uses it: token, zone, SSL mode, DNS records, Origin CA.

Error codes and texts are the vendor's where they are publicly known. Two things differ on
purpose: a proxied record may point to a loopback address (the sandbox's servers live there; the
vendor answers 9003), and there is exactly one zone.
"""

import hashlib
import hmac
import re

from flask import Blueprint, Response, request

from sandbox.clouds.cloudflare import certificates, dns_records, zones
from sandbox.clouds.cloudflare.envelope import ApiError, Problem, failure, refuse, success
from sandbox.clouds.world import World

TOKEN_FORM = re.compile(r"Bearer [A-Za-z0-9_-]{40,}")


def blueprint(world: World) -> Blueprint:
    """The API under the prefix that it is registered with (the vendor's is `/client/v4`)."""
    api = Blueprint("cloudflare", __name__)
    api.register_error_handler(ApiError, failure)
    api.before_request(lambda: _authenticate(world.credentials.cloudflare_token))
    api.add_url_rule(
        "/user/tokens/verify",
        view_func=lambda: _verify(world.credentials.cloudflare_token),
        endpoint="verify",
    )
    zones.register(api, world)
    dns_records.register(api, world)
    certificates.register(api, world)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    api.add_url_rule("/<path:path>", view_func=_no_route, methods=methods)
    return api


def _authenticate(token: str) -> None:
    """Only the sandbox's API token is let in (keys and e-mail addresses are not offered)."""
    header = request.headers.get("Authorization")
    if header is None:
        raise refuse(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
    if not TOKEN_FORM.fullmatch(header):
        cause = Problem(6111, "Invalid format for Authorization header")
        raise ApiError(400, Problem(6003, "Invalid request headers", (cause,)))
    if hmac.compare_digest(header.removeprefix("Bearer "), token):
        return
    if request.path.endswith("/user/tokens/verify"):
        raise refuse(401, 1000, "Invalid API Token")
    raise refuse(401, 10000, "Authentication error")


def _verify(token: str) -> Response:
    identifier = hashlib.sha256(token.encode()).hexdigest()[:32]
    note = {"code": 10000, "message": "This API Token is valid and active", "type": None}
    return success({"id": identifier, "status": "active"}, messages=[note])


def _no_route(path: str) -> Response:
    del path
    raise ApiError(
        404,
        Problem(
            7003, f"Could not route to {request.path}, perhaps your object identifier is invalid?"
        ),
        Problem(7000, "No route for that URI"),
    )
