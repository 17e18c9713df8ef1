"""The consent page: who you are on the pretend X, and whether the app may know it."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from flask import Response, make_response, redirect, render_template, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sandbox.clouds.x.grants import CodeTerms, Grant, Grants
from sandbox.clouds.x.people import People, Person, PersonError

SCOPES = {
    "tweet.read": "See posts that you can see",
    "tweet.write": "Post for you",
    "users.read": "See your profile",
    "users.email": "See your confirmed e-mail address",
    "follows.read": "See whom you follow",
    "follows.write": "Follow people for you",
    "like.read": "See what you like",
    "offline.access": "Stay connected until you revoke access",
}
"""The scopes that the pretend X knows, and what they allow the app."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; frame-ancestors 'none'"


def _on_loopback(uri: str) -> str:
    parts = urlsplit(uri)
    local = _is_local(parts.hostname or "")
    if parts.scheme not in ("http", "https") or not local or parts.fragment:
        raise ValueError("must be an http(s) address on loopback, without a fragment")
    return uri


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return re.fullmatch(r"([a-z0-9-]+\.)*localhost", host) is not None


def _known(scope: str) -> str:
    unknown = set(scope.split()) - SCOPES.keys()
    if unknown or not scope.split():
        raise ValueError(f"must name scopes of {', '.join(SCOPES)}")
    return " ".join(dict.fromkeys(scope.split()))


class AuthorizationRequest(BaseModel):
    """The parameters of a sign-in, all of them required."""

    model_config = ConfigDict(frozen=True)

    response_type: Literal["code"]
    client_id: str
    redirect_uri: Annotated[str, AfterValidator(_on_loopback)]
    scope: Annotated[str, AfterValidator(_known)]
    state: Annotated[str, Field(min_length=1, max_length=500)]
    code_challenge: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{43}$")]
    code_challenge_method: Literal["S256"]


class Consent:
    """The page and what its buttons do, for the app with `client_id`."""

    def __init__(self, client_id: str, people: People, grants: Grants) -> None:
        self._client_id = client_id
        self._people = people
        self._grants = grants

    def page(self) -> Response:
        """GET and POST of the authorization endpoint; the parameters may be in either place."""
        try:
            asked = AuthorizationRequest.model_validate(request.values.to_dict())
        except ValidationError as error:
            return _refused([f"{e['loc'][0]}: {e['msg']}" for e in error.errors()])
        if asked.client_id != self._client_id:
            return _refused(["client_id: the sandbox has another one"])
        if request.method != "POST":
            return self._form(asked)
        return self._decide(asked)

    def _decide(self, asked: AuthorizationRequest) -> Response:
        if request.form.get("decision") == "cancel":
            return _back(asked, error="access_denied")
        try:
            person = self._chosen()
        except PersonError as error:
            return self._form(asked, problem=str(error))
        grant = Grant(person.id, asked.scope)
        code = self._grants.issue_code(grant, CodeTerms(asked.redirect_uri, asked.code_challenge))
        return _back(asked, code=code)

    def _chosen(self) -> Person:
        """What was typed goes before what was picked."""
        typed = request.form.get("username", "").strip().removeprefix("@")
        if typed:
            return self._people.sign_in(typed, request.form.get("name", "").strip())
        picked = self._people.find(request.form.get("person", ""))
        if picked is None:
            raise PersonError("pick somebody, or type a username")
        return picked

    def _form(self, asked: AuthorizationRequest, problem: str = "") -> Response:
        allowed = [SCOPES[scope] for scope in asked.scope.split()]
        page = render_template(
            "x/consent.html",
            asked=asked,
            allowed=allowed,
            people=self._people.all(),
            problem=problem,
            typed=request.form,
        )
        return _html(page, 400 if problem else 200)


def _refused(reasons: list[str]) -> Response:
    return _html(render_template("x/refused.html", reasons=reasons), 400)


def _html(page: str, status: int) -> Response:
    response = make_response(page, status)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


def _back(asked: AuthorizationRequest, **answer: str) -> Response:
    parts = urlsplit(asked.redirect_uri)
    query = urlencode({"state": asked.state, **answer})
    joined = f"{parts.query}&{query}" if parts.query else query
    response = make_response(redirect(urlunsplit(parts._replace(query=joined)), 302))
    response.headers["Cache-Control"] = "no-store"
    return response
