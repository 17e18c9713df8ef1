"""The error body of Stripe's API."""

from typing import Any

from flask import Response, jsonify

from sandbox.clouds.store import Document

NAMES = {
    "checkout.session": "checkout session",
    "payment_method": "PaymentMethod",
    "promotion_code": "promotion code",
    "webhook_endpoint": "webhook endpoint",
    "billing_portal.session": "billing portal session",
}
"""How the vendor's messages call an object whose type they don't repeat."""


class ApiError(Exception):
    """A request that is refused; `fields` are those of the vendor's error object."""

    def __init__(self, status: int, type_: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.fields = fields

    def body(self) -> Document:
        """As the API writes it."""
        given = {name: value for name, value in self.fields.items() if value is not None}
        return {"error": {**given, "message": str(self), "type": self.type}}


class CardError(ApiError):
    """A payment that the card's bank refused. Unlike with other errors, what was written stays."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(402, "card_error", message, **fields)


def invalid(
    message: str, param: str | None = None, code: str | None = None, status: int = 400
) -> ApiError:
    """An invalid_request_error."""
    return ApiError(status, "invalid_request_error", message, code=code, param=param)


def no_such(kind: str, id_: str, param: str = "id") -> ApiError:
    """An object that does not exist: 404 when the path names it, 400 when a parameter does."""
    message = f"No such {NAMES.get(kind, kind)}: '{id_}'"
    return invalid(message, param, "resource_missing", 404 if param == "id" else 400)


def failure(error: ApiError) -> tuple[Response, int]:
    """The response of a refused request."""
    return jsonify(error.body()), error.status
