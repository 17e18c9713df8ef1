"""How every route of the API is run: key, transaction, idempotency, expansion, headers."""

import base64
import binascii
import hmac
import json
from collections.abc import Callable

from flask import Blueprint, Response, g, jsonify, request

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import idempotency
from sandbox.clouds.stripe.errors import CardError, invalid
from sandbox.clouds.stripe.expanding import expand
from sandbox.clouds.stripe.forms import Asked, given
from sandbox.clouds.stripe.ledger import API_VERSION, Ledger, new_id, view

View = Callable[..., Document]


class Routes:
    """Adds routes of the API to a blueprint.

    A view gets the path's ids, reads its parameters itself, and returns a document. It runs in a
    transaction: an ApiError undoes what it wrote, except for a CardError.
    """

    def __init__(self, blueprint: Blueprint, ledger: Ledger) -> None:
        self._blueprint = blueprint
        self._ledger = ledger
        blueprint.before_request(_name_request)
        blueprint.after_request(_tell_request)

    def add(self, method: str, path: str, view_: View) -> None:
        """Serve `path`, which begins with /v1/, with a view."""

        def run(**ids: str) -> Response:
            self._authenticate()
            with self._ledger.transaction():
                if method != "POST":
                    return jsonify(self._answer(view_, ids))
                body, status = idempotency.once(self._ledger, lambda: self._tried(view_, ids))
            response = Response(body, mimetype="application/json")
            response.status_code = status
            return response

        name = f"{method} {path}".replace(".", "_")
        self._blueprint.add_url_rule(path, name, run, methods=[method])

    def refuse_the_rest(self) -> None:
        """Answer every other path of the API as the vendor does."""

        def no_route(path: str) -> Response:
            del path
            self._authenticate()
            raise invalid(
                f"Unrecognized request URL ({request.method}: {request.path}). Please see "
                "https://stripe.com/docs or we can help at https://support.stripe.com/.",
                status=404,
            )

        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        self._blueprint.add_url_rule("/<path:path>", view_func=no_route, methods=methods)

    def _tried(self, view_: View, ids: dict[str, str]) -> tuple[str, int]:
        try:
            return json.dumps(self._answer(view_, ids)), 200
        except CardError as error:
            return json.dumps(error.body()), error.status

    def _answer(self, view_: View, ids: dict[str, str]) -> Document:
        document = json.loads(json.dumps(view_(**ids)))
        wanted = {"expand": given().get("expand", {})}
        expand(self._ledger, document, Asked.model_validate(wanted).expand)
        told: Document = view(document)
        return told

    def _authenticate(self) -> None:
        key = _given_key()
        if not key:
            raise invalid(
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY').",
                status=401,
            )
        if not hmac.compare_digest(
            key.encode(), self._ledger.credentials.stripe_secret_key.encode()
        ):
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 16 else "*" * len(key)
            raise invalid(f"Invalid API Key provided: {shown}", status=401)


def _given_key() -> str:
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _name_request() -> None:
    request.get_data(cache=True)  # before the form is read: the log and idempotency want it too
    g.stripe_request_id = new_id("req", 14)


def _tell_request(response: Response) -> Response:
    # A fault on request answers before the request has got its name.
    response.headers["Request-Id"] = g.get("stripe_request_id") or new_id("req", 14)
    response.headers["Stripe-Version"] = request.headers.get("Stripe-Version", API_VERSION)
    response.headers.update(g.get("stripe_headers", {}))
    return response
