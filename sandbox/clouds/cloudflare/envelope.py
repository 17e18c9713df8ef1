"""Cloudflare's response envelope, its errors and its pages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, jsonify, request

from sandbox.clouds.store import Document


@dataclass(frozen=True)
class Problem:
    """One entry of `errors` or `messages`; `chain` holds the causes."""

    code: int
    message: str
    chain: tuple["Problem", ...] = ()

    def body(self) -> Document:
        """As the API writes it."""
        written: Document = {"code": self.code, "message": self.message}
        if self.chain:
            written["error_chain"] = [cause.body() for cause in self.chain]
        return written


class ApiError(Exception):
    """A request that Cloudflare refuses: the HTTP status and what `errors` holds."""

    def __init__(self, status: int, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.status = status
        self.problems = problems


def refuse(status: int, code: int, message: str) -> ApiError:
    """An error with one problem."""
    return ApiError(status, Problem(code, message))


def failure(error: ApiError) -> tuple[Response, int]:
    """The envelope of a refused request."""
    body = {
        "success": False,
        "errors": [problem.body() for problem in error.problems],
        "messages": [],
        "result": None,
    }
    return jsonify(body), error.status


def success(
    result: Any, *, info: Document | None = None, messages: Sequence[Document] = ()
) -> Response:
    """The envelope of an answered request; `info` is `result_info` of a list."""
    body = {"result": result, "success": True, "errors": [], "messages": list(messages)}
    if info is not None:
        body["result_info"] = info
    return jsonify(body)


def page_of(items: Sequence[Document], *, per_page: int) -> Response:
    """One page of `items` as the query's `page` and `per_page` ask (default `per_page`).

    A page past the end is empty, which is how the official client knows that it is done.
    """
    size = _positive("per_page", per_page)
    number = _positive("page", 1)
    shown = items[(number - 1) * size : number * size]
    info = {
        "page": number,
        "per_page": size,
        "count": len(shown),
        "total_count": len(items),
        "total_pages": -(-len(items) // size),
    }
    return success(shown, info=info)


def _positive(name: str, default: int) -> int:
    value = request.args.get(name)
    if value is None:
        return default
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", value):
        raise refuse(400, 1003, f"The {name} must be a positive integer.")
    return int(value)


def json_object(code: int, message: str) -> Document:
    """The request's body, which must be a JSON object, else an error of `code` and `message`."""
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:  # brackets nested by the thousand
        body = None
    if not isinstance(body, dict):
        raise refuse(400, code, message)
    return body
