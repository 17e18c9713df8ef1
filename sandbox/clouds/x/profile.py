"""Who the bearer of a token is, and the pictures of people."""

import hashlib
from html import escape

from flask import Response, jsonify, request, url_for

from sandbox.clouds.x.errors import Problem
from sandbox.clouds.x.grants import Grants
from sandbox.clouds.x.people import USERNAME, People, Person

ALWAYS = ("id", "name", "username")
FIELDS = (*ALWAYS, "description", "profile_image_url", "protected", "url", "verified")
NEEDED = {"users.read", "tweet.read"}
"""The scopes that X asks for before it says who somebody is."""
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96" viewBox="0 0 96 96">
<rect width="96" height="96" fill="hsl({hue} 45% 40%)"/>
<text x="48" y="64" font-family="sans-serif" font-size="46" text-anchor="middle"
 fill="#fff">{letter}</text></svg>
"""


class Profiles:
    """The users API, as far as signing in needs it."""

    def __init__(self, people: People, grants: Grants) -> None:
        self._people = people
        self._grants = grants

    def me(self) -> Response:
        """The person who granted the token, with the fields asked for. Raises Problem."""
        person = self._bearer()
        wanted = _wanted_fields()
        return jsonify({"data": {name: _view(person)[name] for name in wanted}})

    def _bearer(self) -> Person:
        given = request.authorization
        token = given.token if given and given.type == "bearer" else None
        grant = self._grants.of_access_token(token) if token else None
        person = self._people.find(grant.person_id) if grant else None
        if grant is None or person is None:
            raise Problem(401, "Unauthorized")
        if NEEDED - set(grant.scope.split()):
            raise Problem(403, "Forbidden")
        return person


def picture(username: str) -> Response:
    """A square with the first letter, in a colour of the username's own. Raises Problem."""
    if not USERNAME.fullmatch(username):
        raise Problem(404, "Not Found")
    hue = hashlib.sha256(username.lower().encode()).digest()[0] * 360 // 256
    image = PICTURE.format(hue=hue, letter=escape(username[0].upper()))
    return Response(image, mimetype="image/svg+xml", headers={"Cache-Control": "max-age=3600"})


def _wanted_fields() -> tuple[str, ...]:
    asked = [name for name in request.args.get("user.fields", "").split(",") if name]
    for name in asked:
        if name not in FIELDS:
            raise _unknown_field(name)
    return tuple(dict.fromkeys((*ALWAYS, *asked)))


def _unknown_field(name: str) -> Problem:
    allowed = ",".join(FIELDS)
    message = f"The `user.fields` query parameter value [{name}] is not one of [{allowed}]"
    return Problem(
        400,
        "Invalid Request",
        detail="One or more parameters to your request was invalid.",
        type="https://api.twitter.com/2/problems/invalid-request",
        errors=[{"parameters": {"user.fields": [name]}, "message": message}],
    )


def _view(person: Person) -> dict[str, object]:
    image = url_for(".picture", username=person.username, _external=True)
    return {
        "id": person.id,
        "name": person.name,
        "username": person.username,
        "description": "",
        "profile_image_url": image,
        "protected": False,
        "url": "",
        "verified": False,
    }
