"""The cookie `user_session`: 32 random bytes, of which the database keeps the hash."""

from flask import Flask, Request, request
from flask_login import LoginManager
from sqlalchemy.orm import Session
from werkzeug import Response

from webapp import clock
from webapp.accounts.models import SignIn, User
from webapp.http.context import here
from webapp.identifiers import hash_token, new_token

COOKIE = "user_session"


def install(app: Flask) -> None:
    """Let flask-login know who a request's cookie belongs to."""
    manager = LoginManager()
    manager.session_protection = None  # nothing of ours is in Flask's own session
    manager.request_loader(_user_of)
    manager.init_app(app)


def start(response: Response, session: Session, user: User) -> None:
    """Sign `user` in: a new token each time, in the response's cookie."""
    settings = here().settings
    token, at = new_token(), clock.now()
    session.add(
        SignIn(
            token_hash=hash_token(token),
            user_id=user.id,
            created_at=at,
            expires_at=at + settings.session_lifetime,
            user_agent=request.user_agent.string[:300],
        )
    )
    response.set_cookie(
        COOKIE,
        token,
        max_age=settings.session_lifetime,
        httponly=True,
        secure=settings.is_https,
        samesite="Strict",
    )


def end(response: Response, session: Session) -> None:
    """Sign this browser out."""
    if token := request.cookies.get(COOKIE):
        found = session.get(SignIn, hash_token(token))
        if found:
            session.delete(found)
    response.delete_cookie(
        COOKIE, httponly=True, secure=here().settings.is_https, samesite="Strict"
    )


def current_hash() -> str:
    """The hash of this browser's token, "" if it has none."""
    token = request.cookies.get(COOKIE)
    return hash_token(token) if token else ""


def _user_of(asked: Request) -> User | None:
    token = asked.cookies.get(COOKIE)
    if not token:
        return None
    with here().db.read() as session:
        found = session.get(SignIn, hash_token(token))
        if found is None or found.expires_at <= clock.now():
            return None
        user = session.get(User, found.user_id)
        return None if user is None or user.deleted_at else user
