"""Faults on request, and the log of requests, for every company in the sandbox.

A rule says which requests go wrong and how (see `Rule`); the admin API keeps the rules. A rule
matches a company by the name of its blueprint, so a new company has faults without doing anything.

Every request but the admin's own is logged in memory, newest last, at most `LOG_LENGTH`.
"""

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Annotated, Any, Literal

from flask import Flask, Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from werkzeug.http import HTTP_STATUS_CODES

from sandbox.clouds.store import Document
from sandbox.clouds.world import World

RULE = "sandbox.fault"
LOG = "sandbox.requests"
LOG_LENGTH = 10_000
ADMIN = "admin"

SHORTENED_FROM = 400
"""Longest text of a body that is logged whole, in characters."""
SHORT_ONLY = {"user_data": 16, "csr": 16}
"""Fields of which only the beginning is logged."""
SECRET = {"password", "root_password", "private_key", "token", "secret", "api_key"}


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return text


class Rule(BaseModel):
    """What goes wrong with which requests.

    Which: `vendor` (a blueprint's name), `method` (any when absent), `path` (a regular expression
    searched in the whole path, such as `^/v1/servers$`), and of these the first `times`.

    How, by `kind`:
    - `status`: answered with `status`, `headers` and `body`, after `delay_s`; no work is done.
      Without `body` the company's usual error for the status is sent.
    - `timeout`: the connection is held for `delay_s`, then dropped; no work is done.
    - `lost_response`: the work is done, then the connection is dropped without an answer.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    vendor: str
    method: Annotated[str, Field(pattern="^[A-Z]+$")] | None = None
    path: Annotated[str, AfterValidator(_pattern)] = ""
    kind: Literal["status", "timeout", "lost_response"] = "status"
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    body: Any = None
    headers: dict[str, str] = {}
    delay_s: Annotated[float, Field(ge=0, le=600, strict=False)] = 0.0
    times: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> "Rule":
        if (self.kind == "status") != (self.status is not None):
            raise ValueError("status belongs to rules of kind status, and only to them")
        return self


class RequestLog:
    """The last requests, numbered from 1 without gaps. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Document] = deque(maxlen=LOG_LENGTH)
        self._last = 0

    def add(self, entry: Document) -> None:
        """Log a request."""
        with self._lock:
            self._last += 1
            self._entries.append({"number": self._last, **entry})

    def since(self, number: int) -> list[Document]:
        """Requests with a higher number, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry["number"] > number]


def install(app: Flask, world: World) -> None:
    """Watch every request of `app`; call before any blueprint is registered."""
    app.extensions[LOG] = RequestLog()

    def before() -> ResponseReturnValue | None:
        g.fault = None
        if request.blueprint == ADMIN:
            return None
        rule = _take(world)
        if rule is None:
            return None
        g.fault = rule["kind"]
        if rule["kind"] == "lost_response":
            return None
        time.sleep(rule["delay_s"])
        if rule["kind"] == "timeout":
            return Response(status=504)
        return _answer(rule)

    def after(response: Response) -> Response:
        dropped = g.get("fault") in ("timeout", "lost_response")
        if request.blueprint != ADMIN:
            log: RequestLog = current_app.extensions[LOG]
            log.add(_entry(None if dropped else response.status_code))
        return _dropped(response) if dropped else response

    app.before_request(before)
    app.after_request(after)


def _take(world: World) -> Document | None:
    """The first rule that fits the request, used up by one."""
    if not any(_fits(rule) for rule in world.store.all(RULE)):
        return None
    with world.store.transaction():
        for rule in world.store.all(RULE):
            if not _fits(rule):
                continue
            if rule["times"] == 1:
                world.store.delete(RULE, rule["id"])
            else:
                world.store.put(RULE, rule["id"], {**rule, "times": rule["times"] - 1})
            return rule
    return None


def _fits(rule: Document) -> bool:
    return (
        rule["vendor"] == request.blueprint
        and rule["method"] in (None, request.method)
        and re.search(rule["path"], request.path) is not None
    )


def _answer(rule: Document) -> Response:
    body = rule["body"]
    if body is None:
        body = ERROR_BODIES.get(rule["vendor"], _plain_error)(rule["status"])
    response = jsonify(body) if not isinstance(body, str) else Response(body)
    response.status_code = rule["status"]
    response.headers.update(rule["headers"])
    return response


def _dropped(response: Response) -> Response:
    """Hang up instead of answering; what the server still writes goes nowhere."""
    for _ in response.iter_encoded():
        pass  # a streamed answer is work too: it is done to its end
    response.close()
    connection = _connection(request.environ)
    connection.shutdown(socket.SHUT_RDWR)
    return Response(status=504, headers={"Connection": "close"})


def _connection(environ: dict[str, Any]) -> socket.socket:
    """The client's socket. WSGI has no word for it: it hangs on the channel whose method waitress
    puts into the environment."""
    found = environ["waitress.client_disconnected"].__self__.socket
    if not isinstance(found, socket.socket):
        raise TypeError("waitress no longer gives away its connection")
    return found


def _entry(status: int | None) -> Document:
    """The request as it is logged; `status` is None when nothing was answered."""
    return {
        "time": round(time.time(), 3),
        "vendor": request.blueprint,
        "method": request.method,
        "path": request.path,
        "query": request.query_string.decode("latin-1"),
        "body": _logged_body(request.get_data(cache=True)),
        "status": status,
        "fault": g.get("fault"),
    }


def _logged_body(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return _shortened(json.loads(raw))
    except (ValueError, RecursionError):
        return _short(raw.decode(errors="replace"), SHORTENED_FROM)


def _shortened(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _shortened(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner, name) for inner in value]
    if isinstance(value, str):
        return "(secret)" if name in SECRET else _short(value, SHORT_ONLY.get(name, SHORTENED_FROM))
    return value


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"


def shortened(document: Document) -> Document:
    """A document fit for showing: secrets left out, long texts cut."""
    return {key: _shortened(value, key.lstrip("_")) for key, value in document.items()}


def _hetzner_error(status: int) -> Document:
    codes = {
        401: ("unauthorized", "unable to authenticate"),
        404: ("not_found", "not found"),
        409: ("conflict", "conflict"),
        412: ("resource_unavailable", "error during placement"),
        423: ("locked", "cannot perform operation because server is locked"),
        429: ("rate_limit_exceeded", "limit of requests per hour exceeded"),
        502: ("bad_gateway", "bad gateway"),
        503: ("unavailable", "the service is temporarily unavailable"),
        504: ("timeout", "timeout"),
    }
    code, message = codes.get(status, ("server_error", "an unexpected error occurred"))
    return {"error": {"code": code, "message": message, "details": {}}}


def _cloudflare_error(status: int) -> Document:
    error = {"code": 10000 + status, "message": f"sandbox fault with status {status}"}
    return {"success": False, "errors": [error], "messages": [], "result": None}


def _anthropic_error(status: int) -> Document:
    types = {
        401: "authentication_error",
        404: "not_found_error",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    type_ = types.get(status, "api_error")
    return {"type": "error", "error": {"type": type_, "message": type_.replace("_", " ")}}


def _stripe_error(status: int) -> Document:
    error = {"type": "api_error" if status >= 500 else "invalid_request_error"}
    if status == 429:
        error["code"] = "rate_limit"
    return {"error": {**error, "message": f"sandbox fault with status {status}"}}


def _x_error(status: int) -> Document:
    title = HTTP_STATUS_CODES.get(status, "Unknown Error")
    return {"title": title, "detail": title, "type": "about:blank", "status": status}


def _plain_error(status: int) -> Document:
    return {"error": {"message": f"sandbox fault with status {status}"}}


ERROR_BODIES: dict[str, Callable[[int], Document]] = {
    "hetzner": _hetzner_error,
    "cloudflare": _cloudflare_error,
    "anthropic": _anthropic_error,
    "stripe": _stripe_error,
    "x": _x_error,
}
"""A company's usual error body by status, for rules that give none."""
