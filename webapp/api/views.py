"""The API's description, for programs and for people."""

from flask import Blueprint, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue

from webapp.api import reading
from webapp.api.openapi import document
from webapp.http.access import public
from webapp.http.context import here

api = Blueprint("api", __name__)


@api.get("/api/openapi.json")
@public
def openapi() -> ResponseReturnValue:
    """The OpenAPI 3.1 document of this API."""
    return jsonify(document(current_app, here().settings.clawdet_web_url))


@api.get("/api/docs")
@public
def docs() -> ResponseReturnValue:
    """The same for people to read."""
    found = document(current_app, here().settings.clawdet_web_url)
    return render_template(
        "api/docs.html",
        about=found["info"]["description"],
        calls=reading.calls(found),
        models=reading.models(found),
    )
