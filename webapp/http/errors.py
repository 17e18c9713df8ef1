"""How errors are told: a page to people, a problem document (RFC 9457) to programs."""

from typing import Any

import structlog
from flask import Flask, Response, g, json, make_response, render_template, request
from flask_login import AnonymousUserMixin
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, OperationalError
from werkzeug.exceptions import HTTPException

from webapp.errors import ClawdetError
from webapp.http.access import is_api

WORDS = {
    400: ("That request made no sense.", "Go back and try again; nothing was changed."),
    401: ("You are not signed in.", "Sign in with X, then try again."),
    403: ("That is not yours to do.", "Sign in with another account, or ask us."),
    404: ("There is nothing here.", "The address may be mistyped, or what was here is gone."),
    405: ("That can't be done this way.", "Go back and use the buttons of the page."),
    413: ("That was too much at once.", "Send less, then try again."),
    415: ("That is in a form we don't read.", "Send JSON, with its content type."),
    429: ("That was a lot at once.", "Wait a minute, then try again."),
    500: ("Something broke on our side.", "It is logged. Try again in a minute."),
    503: ("We can't do that just now.", "Try again in a minute."),
}


def install(app: Flask) -> None:
    """Register the handlers."""
    log = structlog.get_logger("web")

    @app.errorhandler(ClawdetError)
    def ours(error: ClawdetError) -> Response:
        if error.status >= 500:
            log.error("failed", error=str(error), exc_info=error)
        return tell(error.status, error.title, error.detail, error.code)

    @app.errorhandler(CSRFError)
    def forged(error: CSRFError) -> Response:
        log.warning("csrf", reason=error.description)
        detail = "Reload the page and try again; nothing was changed."
        return tell(400, "This form is too old, or not ours.", detail, "csrf")

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        code = error.code or 500
        response = tell(code, *WORDS.get(code, WORDS[500 if code >= 500 else 400]))
        for name, value in error.get_headers():
            if name in ("Allow", "Retry-After", "Location"):
                response.headers[name] = value
        return response

    @app.errorhandler(OperationalError)
    def database(error: OperationalError) -> Response:
        log.error("database", exc_info=error)
        return tell(503, *WORDS[503], "unavailable")

    @app.errorhandler(DataError)
    @app.errorhandler(OverflowError)
    def beyond_the_database(error: Exception) -> Response:
        log.warning("unfit", error=repr(error)[:200])
        return tell(400, *WORDS[400])

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("unexpected", exc_info=error)
        return tell(500, *WORDS[500], "internal_error")


def tell(status: int, title: str, detail: str, code: str = "") -> Response:
    """The error as this request's sender reads it best."""
    if is_api():
        return problem(status, title, detail, code)
    if status >= 500:  # what failed may be the very reading of who is signed in
        g._login_user = AnonymousUserMixin()
    page = render_template(
        "errors/error.html",
        code=status,
        title=title,
        meaning=detail,
        action_text="To the start",
        action_url="/",
        request_id=g.get("request_id", ""),
    )
    return make_response(page, status)


def problem(status: int, title: str, detail: str, code: str = "", **more: Any) -> Response:
    """An application/problem+json answer."""
    document = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code or _code(status),
        "instance": request.path,
        "requestId": g.get("request_id", ""),
        **more,
    }
    return Response(json.dumps(document), status, content_type="application/problem+json")


def _code(status: int) -> str:
    names = {
        404: "not_found",
        405: "method_not_allowed",
        413: "too_large",
        429: "too_many_requests",
    }
    return names.get(status, "internal_error" if status >= 500 else "invalid_request")
