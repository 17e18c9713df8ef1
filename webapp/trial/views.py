"""The first page and its chat: as a plain form, as JSON, and as a stream of events."""

from collections.abc import Iterator

from flask import Blueprint, Response, make_response, redirect, render_template
from flask import request as asked
from flask.typing import ResponseReturnValue
from flask_login import current_user
from pydantic import BaseModel, ValidationError

from webapp import clock
from webapp.billing import service as billing
from webapp.errors import ClawdetError, Invalid
from webapp.http.access import public
from webapp.http.context import here
from webapp.http.limits import limiter
from webapp.identifiers import new_token
from webapp.trial import visits
from webapp.trial.schema import TrialAnswer, TrialDelta, TrialDone, TrialError, TrialQuestion
from webapp.trial.service import Chat, Reply, Visitor

trial = Blueprint("trial", __name__)

STREAM = "text/event-stream"

per_minute = limiter.shared_limit(lambda: here().settings.clawdet_trial_limit, scope="trial")


@trial.get("/")
@public
def landing() -> ResponseReturnValue:
    """The promise, the chat, the price."""
    token = _token()
    return _with_cookie(make_response(_page(token)), token)


@trial.post("/trial")
@public
@per_minute
def send() -> ResponseReturnValue:
    """A message by a plain form: the page again, with the answer or what went wrong."""
    token = _token()
    text = asked.form.get("message", "")
    try:
        reply = _ask(token, text)
        _read_out(reply)
    except ClawdetError as error:
        page = _page(token, error=error, draft=text)
        return _with_cookie(make_response(page, error.status), token)
    return _with_cookie(make_response(redirect("/", 303)), token)


@trial.post("/api/trial-chat")
@public
@per_minute
def api_send() -> ResponseReturnValue:
    """A message by JSON. Answered as a stream where the client accepts text/event-stream."""
    token = _token()
    reply = _ask(token, _question().message)
    if STREAM in asked.accept_mimetypes.values():
        response = Response(_events(reply), content_type=f"{STREAM}; charset=utf-8")
        response.headers["X-Accel-Buffering"] = "no"
        response.call_on_close(reply.close)
        return _with_cookie(response, token)
    _read_out(reply)
    answer = TrialAnswer(reply=reply.text, remaining=reply.remaining())
    return _with_cookie(
        Response(answer.model_dump_json(by_alias=True), content_type="application/json"), token
    )


def _token() -> str:
    """This browser's, or a new one: a visit begins with the first message."""
    return asked.cookies.get(visits.COOKIE) or new_token()


def _with_cookie(response: Response, token: str) -> Response:
    if asked.cookies.get(visits.COOKIE) != token:
        response.set_cookie(
            visits.COOKIE,
            token,
            max_age=visits.COOKIE_LIFETIME,
            httponly=True,
            secure=here().settings.is_https,
            samesite="Lax",  # it comes along when X leads back, to become the account's
        )
    return response


def _user_id() -> str | None:
    return current_user.get_id() if current_user.is_authenticated else None


def _ask(token: str, text: str) -> Reply:
    c = here()
    ip_hash = visits.hash_ip(c.settings, asked.remote_addr or "0.0.0.0")
    visitor = Visitor(token, ip_hash, _user_id())
    return Chat(c.db, c.model, c.settings).ask(visitor, text, clock.now())


def _read_out(reply: Reply) -> None:
    try:
        for _ in reply:
            pass
    finally:
        reply.close()


def _events(reply: Reply) -> Iterator[str]:
    try:
        for piece in reply:
            yield _event("delta", TrialDelta(text=piece))
    except ClawdetError as error:
        told = TrialError(title=error.title, detail=error.detail, remaining=reply.remaining())
        yield _event("error", told)
        return
    yield _event("done", TrialDone(remaining=reply.remaining()))


def _event(name: str, data: BaseModel) -> str:
    return f"event: {name}\ndata: {data.model_dump_json(by_alias=True)}\n\n"


def _question() -> TrialQuestion:
    try:
        return TrialQuestion.model_validate_json(asked.get_data())
    except ValidationError as error:
        raise Invalid(
            "That is not what is expected here.", 'Send JSON like {"message": "Hello"}.'
        ) from error


def _page(token: str, error: ClawdetError | None = None, draft: str = "") -> str:
    c = here()
    with c.db.read() as session:
        told = visits.conversation(session, token, _user_id(), c.settings)
    return render_template(
        "landing.html",
        messages=told.messages,
        remaining=told.remaining,
        allowance=c.settings.clawdet_trial_messages,
        price=billing.price(c),
        trial_error=error,
        draft=draft,
    )
