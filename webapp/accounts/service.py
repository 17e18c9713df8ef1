"""Sign-in with X: the way there and back, the user it leads to, and signed-in browsers."""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from webapp.accounts.models import SignIn, SignInAttempt, User
from webapp.adapters.x import XProfile
from webapp.errors import Invalid
from webapp.identifiers import hash_token, new_token
from webapp.settings import WebSettings

ATTEMPT_LIFETIME = timedelta(minutes=10)
LONGEST_PATH = 500

log = structlog.get_logger(__name__)


class SignInRefused(Invalid):
    """A way back from X that does not belong to a way there."""

    code = "sign_in_refused"


@dataclass(frozen=True)
class Attempt:
    """A way to X: both values are secrets of this browser's. `next_path` is where it goes after."""

    state: str
    verifier: str
    next_path: str


def local_path(path: str | None) -> str:
    """`path` if it is one of our pages, else "": no other host, nothing a browser reads as one."""
    if not path or len(path) > LONGEST_PATH or not path.isprintable() or "\\" in path:
        return ""
    parts = urlsplit(path)
    is_path = path.startswith("/") and not path.startswith("//")
    if parts.scheme or parts.netloc or not is_path or " " in path:
        return ""
    return "" if parts.path.startswith(("/api/", "/sign-in", "/static/")) else path


def begin(session: Session, next_path: str, at: datetime) -> Attempt:
    """Keep a new attempt to sign in; it is good once, for ten minutes."""
    attempt = Attempt(new_token(), new_token(), local_path(next_path))
    session.add(
        SignInAttempt(
            state_hash=hash_token(attempt.state),
            code_verifier=attempt.verifier,
            next_path=attempt.next_path,
            expires_at=at + ATTEMPT_LIFETIME,
        )
    )
    return attempt


def redeem(session: Session, state: str, cookie: str, at: datetime) -> Attempt:
    """The attempt that a browser comes back from, used up by this. Raises SignInRefused.

    `cookie`: the state as this browser was given it, "" if it was not.
    """
    kept = session.get(SignInAttempt, hash_token(state))
    if kept is None:
        raise _refused(
            "This sign-in did not start here.",
            "It may be an old link, or somebody else's. Nothing was stored.",
        )
    if not hmac.compare_digest(cookie.encode(), state.encode()):
        raise _refused(
            "This sign-in was started in another browser.",
            "Finish it there, or start again here. Nothing was stored.",
        )
    if kept.expires_at <= at:
        raise _refused(
            "This sign-in took too long.",
            "It is good for ten minutes, for your safety. Nothing was stored.",
        )
    if not _use(session, kept, at):
        raise _refused(
            "This sign-in was used already.",
            "Each one works once. If you are not signed in now, start again.",
        )
    return Attempt(state, kept.code_verifier, kept.next_path)


def sign_up_or_in(session: Session, profile: XProfile, settings: WebSettings) -> User:
    """The user behind an X account, made on the first sign-in, refreshed on every other."""
    user = session.scalar(select(User).where(User.x_id == profile.id))
    if user is None:
        user = User(x_id=profile.id, role="customer")
        session.add(user)
    user.x_username = profile.username
    user.x_name = profile.name
    user.x_profile_image = profile.image
    _set_role(user, profile, settings.clawdet_operators)
    session.flush()
    return user


def browsers(session: Session, user_id: str, at: datetime) -> list[SignIn]:
    """Where somebody is signed in, newest first."""
    found = session.scalars(
        select(SignIn)
        .where(SignIn.user_id == user_id, SignIn.expires_at > at)
        .order_by(SignIn.created_at.desc())
    )
    return list(found)


def sign_out_everywhere(session: Session, user_id: str) -> None:
    """No browser is signed in any more."""
    session.execute(delete(SignIn).where(SignIn.user_id == user_id))


def _use(session: Session, kept: SignInAttempt, at: datetime) -> bool:
    """Whether it was unused until now, also when two requests ask at once."""
    used = session.execute(
        update(SignInAttempt)
        .where(SignInAttempt.state_hash == kept.state_hash, SignInAttempt.used_at.is_(None))
        .values(used_at=at)
        .returning(SignInAttempt.state_hash)
    )
    return used.first() is not None


def _refused(title: str, detail: str) -> SignInRefused:
    log.warning("sign_in_refused", reason=title)
    return SignInRefused(title, detail)


def _set_role(user: User, profile: XProfile, operators: tuple[str, ...]) -> None:
    """Whoever the settings name, by handle or X id, is an admin. Nobody's role is taken here."""
    named = {name.removeprefix("@").lower() for name in operators}
    is_named = profile.username.lower() in named or profile.id in named
    if is_named and user.role != "admin":
        user.role = "admin"
        log.warning("admin_by_settings", x_id=profile.id, x_username=profile.username)
