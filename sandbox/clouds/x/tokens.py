"""The token and revocation endpoints, for a confidential client with Basic authentication."""

import hmac
from urllib.parse import unquote_plus

from flask import Response, jsonify, request

from sandbox.clouds.world import Credentials
from sandbox.clouds.x.errors import OAuthError
from sandbox.clouds.x.grants import ACCESS, LIFETIME_S, Grants, Tokens


class TokenEndpoint:
    """Answers the app that has the credentials; others get 401."""

    def __init__(self, credentials: Credentials, grants: Grants) -> None:
        self._credentials = credentials
        self._grants = grants

    def token(self) -> Response:
        """Tokens for a code or a refresh token. Raises OAuthError."""
        self._authenticate()
        kind = _field("grant_type")
        if kind == "authorization_code":
            given = (_field("code"), _field("redirect_uri"), _field("code_verifier"))
            return _answer(self._grants.exchange(*given))
        if kind == "refresh_token":
            return _answer(self._grants.refresh(_field("refresh_token")))
        description = "Value passed for the grant type was invalid."
        raise OAuthError(400, "unsupported_grant_type", description)

    def revoke(self) -> Response:
        """Forget a token; one that is unknown is no error. Raises OAuthError."""
        self._authenticate()
        self._grants.revoke(_field("token"))
        return jsonify({"revoked": True})

    def _authenticate(self) -> None:
        given = request.authorization
        if given is None or given.type != "basic":
            raise _unauthorized()
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        id_, secret = (unquote_plus(given.get(part) or "") for part in ("username", "password"))
        right = hmac.compare_digest(id_.encode(), self._credentials.twitter_client_id.encode())
        wanted = self._credentials.twitter_client_secret.encode()
        if not hmac.compare_digest(secret.encode(), wanted) or not right:
            raise _unauthorized()


def _unauthorized() -> OAuthError:
    return OAuthError(401, "unauthorized_client", "Missing valid authorization header")


def _field(name: str) -> str:
    value = request.form.get(name)
    if not value:
        raise OAuthError(400, "invalid_request", f"Missing required parameter [{name}].")
    return value


def _answer(tokens: Tokens) -> Response:
    body: dict[str, object] = {
        "token_type": "bearer",
        "expires_in": LIFETIME_S[ACCESS],
        "access_token": tokens.access_token,
        "scope": tokens.scope,
    }
    if tokens.refresh_token:
        body["refresh_token"] = tokens.refresh_token
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return response
