"""Sign-in with X: OAuth 2.0 with PKCE as a confidential client, and who signed in.

https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code
"""

from dataclasses import dataclass
from typing import Any

import requests
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from pydantic import BaseModel

from webapp.errors import Invalid, Unavailable
from webapp.settings import WebSettings

SCOPE = "users.read tweet.read"
"""X tells nobody's profile without both."""
CHALLENGE_METHOD = "S256"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class XProfile:
    """Somebody on X. The id stays when the username changes; `image` is a URL."""

    id: str
    username: str
    name: str
    image: str | None = None


class _Person(BaseModel):
    id: str
    username: str
    name: str
    profile_image_url: str | None = None


class _Me(BaseModel):
    data: _Person


class XClient:
    """X's authorization server and its users API, by the endpoints of the settings."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings

    def authorize_url(self, state: str, verifier: str, redirect_uri: str) -> str:
        """Where a browser is sent; `verifier` is PKCE's secret, 43 to 128 characters."""
        with self._session(redirect_uri) as session:
            url, _ = session.create_authorization_url(
                self._settings.x_authorize_url, state=state, code_verifier=verifier
            )
        return str(url)

    def identify(self, code: str, verifier: str, redirect_uri: str) -> XProfile:
        """Who a code belongs to. Invalid when X does not take the code, else Unavailable."""
        try:
            with self._session(redirect_uri) as session:
                self._exchange(session, code, verifier)
                return self._profile(session)
        except OAuthError as error:
            raise self._told_by_x(error) from error
        except (requests.RequestException, ValueError) as error:
            log.warning("x_unavailable", error=type(error).__name__, status=_status(error))
            raise _unavailable() from error

    def _session(self, redirect_uri: str) -> Any:
        return OAuth2Session(
            self._settings.twitter_client_id,
            self._settings.twitter_client_secret.get_secret_value(),
            scope=SCOPE,
            redirect_uri=redirect_uri,
            code_challenge_method=CHALLENGE_METHOD,
            default_timeout=self._settings.clawdet_adapter_timeout_s,
        )

    def _exchange(self, session: Any, code: str, verifier: str) -> None:
        session.register_compliance_hook("access_token_response", _check_token_answer)
        session.fetch_token(
            f"{self._settings.x_api_base}/2/oauth2/token",
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
            redirect_uri=session.redirect_uri,
        )

    def _profile(self, session: Any) -> XProfile:
        answer = session.get(
            f"{self._settings.x_api_base}/2/users/me", params={"user.fields": "profile_image_url"}
        )
        answer.raise_for_status()
        found = _Me.model_validate_json(answer.content).data
        return XProfile(found.id, found.username, found.name, found.profile_image_url)

    def _told_by_x(self, error: OAuthError) -> Invalid | Unavailable:
        if error.error in ("invalid_client", "unauthorized_client"):
            # Ours to mend, not the visitor's: TWITTER_CLIENT_ID or its secret is wrong.
            log.error("x_refuses_our_credentials", error=error.error)
            return _unavailable()
        log.info("x_refuses_a_code", error=error.error)
        return Invalid(
            "X did not accept this sign-in.",
            "It took too long or was used before. Nothing was stored. Sign in again.",
        )


def _check_token_answer(answer: requests.Response) -> requests.Response:
    """A hook: what is no answer of an authorization server is an HTTP error, not an OAuth one."""
    if answer.status_code == 429 or answer.status_code >= 500:
        answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict) or not found.keys() & {"error", "access_token"}:
        answer.raise_for_status()
        raise ValueError("a token answer without a token")
    return answer


def _unavailable() -> Unavailable:
    return Unavailable(
        "X is not answering.", "Nothing was stored. Wait a moment, then sign in again."
    )


def _status(error: Exception) -> int | None:
    answer = getattr(error, "response", None)
    return answer.status_code if answer is not None else None
