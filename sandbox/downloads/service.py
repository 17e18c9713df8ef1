"""`/downloads/FILE`: the vendors' download sites, for machines without the internet."""

from flask import Blueprint, Response, jsonify, make_response, send_file

from sandbox.clouds.world import World
from sandbox.downloads import artifacts


def blueprint(world: World) -> Blueprint:  # noqa: ARG001 - every company's blueprint takes the world
    """Serves the artifacts in the cache by file name, with Content-Length and Range.

    A file that is not there answers 404 and says whether it is unknown or not made yet.
    """
    routes = Blueprint("downloads", __name__)

    @routes.get("/<file_name>")
    def download(file_name: str) -> Response:
        path = artifacts.find(file_name)
        if path is None:
            return _not_found(f"there is no {file_name} here")
        if not path.exists():
            return _not_found(f"{file_name} has not been made yet; `make setup` makes it")
        return send_file(path, mimetype="application/gzip", conditional=True)

    return routes


def _not_found(message: str) -> Response:
    return make_response(jsonify({"error": {"code": "not_found", "message": message}}), 404)
