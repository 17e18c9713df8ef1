"""Logs as events, one JSON line each, with the request's id and without secrets."""

import logging
import re
import time

import structlog
from flask import Flask, Response, g, request
from structlog.types import EventDict, WrappedLogger

from webapp.identifiers import new_id

_SECRET_NAMES = re.compile(r"token|secret|password|authorization|cookie|verifier|api_key|code$")
_SECRET_VALUES = re.compile(r"sk[-_](?:ant|live|test)[-_]\S+|whsec_\S+|Bearer \S+|[0-9a-f]{64}")


def configure(level: int = logging.INFO) -> None:
    """Once per process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Blank what is secret by its name or by its looks."""
    del logger, method
    for name, value in event.items():
        if _SECRET_NAMES.search(name.lower()):
            event[name] = "(redacted)"
        elif isinstance(value, str):
            event[name] = redact_text(value)
    return event


def redact_text(text: str) -> str:
    """`text` with whatever looks like a key or a token blanked."""
    return _SECRET_VALUES.sub("(redacted)", text)


def install(app: Flask) -> None:
    """Name every request, and log how it ended."""
    log = structlog.get_logger("web")

    @app.before_request
    def begin() -> None:
        g.request_id, g.began = new_id("req"), time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        if request.endpoint not in ("static", "health.live"):
            took_ms = round((time.perf_counter() - g.began) * 1000, 1)
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                took_ms=took_ms,
            )
        return response
