"""The error body of Anthropic's API."""

from flask import Response, g, jsonify


class ApiError(Exception):
    """A request that is refused: HTTP status, the vendor's error type, and its message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def failure(error: ApiError) -> tuple[Response, int]:
    """The response of a refused request."""
    body = {
        "type": "error",
        "error": {"type": error.kind, "message": str(error)},
        "request_id": g.anthropic_request_id,
    }
    return jsonify(body), error.status
