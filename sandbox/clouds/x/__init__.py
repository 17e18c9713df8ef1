"""X's sign-in: OAuth 2.0 with PKCE for a confidential client, and who signed in.

Anybody may be anybody: the consent page asks for a name, not for a password. For checks,
`POST sandbox/rename` with {"id", "username", "name"} changes what somebody is called.
"""

import time
from typing import Annotated

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.clouds.world import World
from sandbox.clouds.x import profile
from sandbox.clouds.x.consent import Consent
from sandbox.clouds.x.errors import OAuthError, Problem, oauth_failure, problem
from sandbox.clouds.x.grants import Clock, Grants
from sandbox.clouds.x.people import People, PersonError
from sandbox.clouds.x.profile import Profiles
from sandbox.clouds.x.tokens import TokenEndpoint


class Renaming(BaseModel):
    """What somebody is called from now on; empty: as before."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(pattern="^[0-9]+$")]
    username: str = ""
    name: str = ""


def blueprint(world: World, now: Clock = time.time) -> Blueprint:
    """The company under the prefix that it is registered with; `now` in seconds since the epoch."""
    people = People(world.store)
    people.add_first()
    grants = Grants(world.store, now)
    consent = Consent(world.credentials.twitter_client_id, people, grants)
    endpoint = TokenEndpoint(world.credentials, grants)
    x = Blueprint("x", __name__, template_folder="templates")
    x.register_error_handler(OAuthError, oauth_failure)
    x.register_error_handler(Problem, problem)
    x.add_url_rule("/i/oauth2/authorize", "authorize", consent.page, methods=["GET", "POST"])
    x.add_url_rule("/2/oauth2/token", "token", endpoint.token, methods=["POST"])
    x.add_url_rule("/2/oauth2/revoke", "revoke", endpoint.revoke, methods=["POST"])
    x.add_url_rule("/2/users/me", "me", Profiles(people, grants).me)
    x.add_url_rule("/images/<username>.svg", "picture", profile.picture)
    x.add_url_rule("/sandbox/rename", "rename", lambda: _rename(people), methods=["POST"])
    return x


def _rename(people: People) -> ResponseReturnValue:
    try:
        asked = Renaming.model_validate_json(request.get_data())
        person = people.rename(asked.id, asked.username, asked.name)
    except (ValidationError, PersonError) as error:
        return jsonify({"error": str(error)}), 400
    return jsonify({"id": person.id, "username": person.username, "name": person.name})
