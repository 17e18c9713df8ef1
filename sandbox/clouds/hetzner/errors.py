"""Hetzner's error answers: HTTP status, code, message and details."""

from collections.abc import Mapping, Sequence
from typing import Any

Details = dict[str, Any]


class ApiError(Exception):
    """An answer other than success; `body()` is what the client reads."""

    def __init__(self, status: int, code: str, message: str, details: Details | None = None):
        super().__init__(f"{message} ({code})")
        self.status = status
        self.code = code
        self.message = message
        self.details = details or {}

    def body(self) -> dict[str, Any]:
        """The vendor's error document."""
        return error_body(self.code, self.message, self.details)


def error_body(code: str, message: str, details: Details | None = None) -> dict[str, Any]:
    """`{"error": {code, message, details}}`."""
    return {"error": {"code": code, "message": message, "details": details or {}}}


def invalid_input(fields: Mapping[str, Sequence[str]]) -> ApiError:
    """422 with what is wrong by field name."""
    names = ", ".join(f"'{name}'" for name in fields)
    if len(fields) == 1:
        message = f"invalid input in field {names}: {next(iter(fields.values()))[0]}"
    else:
        message = f"invalid input in fields {names}"
    details = {"fields": [{"name": n, "messages": list(m)} for n, m in fields.items()]}
    return ApiError(422, "invalid_input", message, details)


def not_found(what: str, id_: object) -> ApiError:
    """404 for something that does not exist."""
    return ApiError(404, "not_found", f"{what} with ID '{id_}' not found")


def uniqueness_error(message: str, field: str) -> ApiError:
    """409 for a value that something else already has."""
    return ApiError(409, "uniqueness_error", message, {"fields": [{"name": field}]})


def locked() -> ApiError:
    """423: an action on the server is running."""
    return ApiError(423, "locked", "cannot perform operation because server is locked")


def protected(what: str) -> ApiError:
    """423: protection has to be lifted first."""
    return ApiError(423, "protected", f"{what} is protected")


def resource_unavailable() -> ApiError:
    """412: no room for the server type in the location."""
    return ApiError(412, "resource_unavailable", "error during placement")
