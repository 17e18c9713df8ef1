"""What people granted: authorization codes and the tokens that they are exchanged for.

Codes and tokens are kept by their hashes only, as they are secrets.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass

from sandbox.clouds.store import Document, Store
from sandbox.clouds.x.errors import invalid

CODE, ACCESS, REFRESH = "x.code", "x.access_token", "x.refresh_token"
LIFETIME_S = {CODE: 30, ACCESS: 7200, REFRESH: 180 * 86_400}
"""X documents 30 seconds for a code and two hours for an access token."""
OFFLINE = "offline.access"

Clock = Callable[[], float]


@dataclass(frozen=True)
class Grant:
    """What one person allowed the app: scopes, separated by spaces."""

    person_id: str
    scope: str


@dataclass(frozen=True)
class CodeTerms:
    """What a code's exchange must match; `challenge` is PKCE's, by S256."""

    redirect_uri: str
    challenge: str


@dataclass(frozen=True)
class Tokens:
    """A token answer; without the scope `offline.access` there is no refresh token."""

    access_token: str
    refresh_token: str | None
    scope: str


class Grants:
    """Issues and checks codes and tokens. `now` is in seconds since the epoch."""

    def __init__(self, store: Store, now: Clock) -> None:
        self._store = store
        self._now = now

    def issue_code(self, grant: Grant, terms: CodeTerms) -> str:
        """A code for one exchange within 30 seconds."""
        return self._issue(CODE, grant, **asdict(terms))

    def exchange(self, code: str, redirect_uri: str, verifier: str) -> Tokens:
        """Tokens for a code, which is used up by the attempt. Raises OAuthError."""
        kept = self._take(CODE, code)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        if (
            kept is None
            or kept["redirect_uri"] != redirect_uri
            or not hmac.compare_digest(challenge.rstrip(b"="), kept["challenge"].encode())
        ):
            raise invalid("authorization code")
        return self._tokens(_grant(kept))

    def refresh(self, token: str) -> Tokens:
        """New tokens for a refresh token, which is used up. Raises OAuthError."""
        kept = self._take(REFRESH, token)
        if kept is None:
            raise invalid("token")
        return self._tokens(_grant(kept))

    def of_access_token(self, token: str) -> Grant | None:
        """The grant behind an access token that is still good."""
        kept = self._store.get(ACCESS, _hash(token))
        return _grant(kept) if kept and kept["expires_at"] > self._now() else None

    def revoke(self, token: str) -> None:
        """Forget an access or refresh token, if it is one."""
        for kind in (ACCESS, REFRESH):
            self._store.delete(kind, _hash(token))

    def _tokens(self, grant: Grant) -> Tokens:
        offline = OFFLINE in grant.scope.split()
        return Tokens(
            access_token=self._issue(ACCESS, grant),
            refresh_token=self._issue(REFRESH, grant) if offline else None,
            scope=grant.scope,
        )

    def _issue(self, kind: str, grant: Grant, **more: str) -> str:
        secret = secrets.token_urlsafe(48)
        kept = {"id": _hash(secret), "expires_at": self._now() + LIFETIME_S[kind]}
        with self._store.transaction():
            self._forget_expired(kind)
            self._store.put(kind, _hash(secret), kept | asdict(grant) | more)
        return secret

    def _take(self, kind: str, secret: str) -> Document | None:
        with self._store.transaction():
            kept = self._store.get(kind, _hash(secret))
            self._store.delete(kind, _hash(secret))
        return kept if kept and kept["expires_at"] > self._now() else None

    def _forget_expired(self, kind: str) -> None:
        for kept in self._store.all(kind):
            if kept["expires_at"] <= self._now():
                self._store.delete(kind, kept["id"])


def _grant(kept: Document) -> Grant:
    return Grant(kept["person_id"], kept["scope"])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
