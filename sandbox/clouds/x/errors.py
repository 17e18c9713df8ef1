"""X's errors: OAuth 2.0's two fields at the token endpoint, problem details in the API."""

from flask import jsonify
from flask.typing import ResponseReturnValue


class OAuthError(Exception):
    """Answered as {"error", "error_description"}."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description


class Problem(Exception):
    """Answered as {"title", "detail", "type", "status"} with what X adds to it."""

    def __init__(self, status: int, title: str, **more: object) -> None:
        super().__init__(title)
        self.status = status
        self.body = {"title": title, "detail": title, "type": "about:blank", "status": status}
        self.body |= more


def invalid(what: str) -> OAuthError:
    """A value of the request that is not good; `what` as X names it, such as "token"."""
    return OAuthError(400, "invalid_request", f"Value passed for the {what} was invalid.")


def oauth_failure(error: OAuthError) -> ResponseReturnValue:
    """The answer to an OAuthError."""
    body = {"error": error.error, "error_description": error.description}
    return jsonify(body), error.status


def problem(error: Problem) -> ResponseReturnValue:
    """The answer to a Problem."""
    response = jsonify(error.body)
    response.mimetype = "application/problem+json"
    return response, error.status
