"""What arrived, for eyes and for checks: pages, and a JSON API.

    GET    /api/letters?to=ADDRESS   {"letters": […]}, newest first, each {id, to (a list), from,
                                     subject, text, html, links, received}
    DELETE /api/letters              forget them all
    GET, POST /api/refuse            {"refuse": true}: SMTP answers 451 until it is false again

Wrong input is answered with 400 and {"error": what is wrong}.
"""

from flask import Blueprint, Response, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.clouds.world import World
from sandbox.mail.letters import Letters

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing remote is loaded; the letter's frame inherits it."""


class Refusal(BaseModel):
    """Whether letters are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    refuse: bool


def blueprint(world: World) -> Blueprint:
    """The pages and the API, relative to the prefix that it is registered with."""
    letters = Letters(world.store)
    mail = Blueprint("mail", __name__, template_folder="templates")
    mail.after_request(_protect)
    _add_pages(mail, letters)
    _add_api(mail, letters)
    return mail


def _add_pages(mail: Blueprint, letters: Letters) -> None:
    @mail.get("/")
    def index() -> str:
        found = letters.newest_first()
        return render_template("mail/index.html", letters=found, refused=letters.refused())

    @mail.get("/<int:id_>")
    def letter(id_: int) -> ResponseReturnValue:
        found = letters.find(id_)
        if found is None:
            return render_template("mail/missing.html", id=id_), 404
        return render_template("mail/letter.html", letter=found)


def _add_api(mail: Blueprint, letters: Letters) -> None:
    @mail.get("/api/letters")
    def listing() -> Response:
        found = letters.newest_first(request.args.get("to", ""))
        return jsonify({"letters": [letter.body() for letter in found]})

    @mail.delete("/api/letters")
    def clear() -> ResponseReturnValue:
        letters.clear()
        return "", 204

    @mail.route("/api/refuse", methods=["GET", "POST"])
    def refuse() -> ResponseReturnValue:
        if request.method == "POST":
            try:
                letters.refuse(Refusal.model_validate_json(request.get_data()).refuse)
            except ValidationError:
                return jsonify({"error": '{"refuse": true} or {"refuse": false} is expected'}), 400
        return jsonify({"refuse": letters.refused()})


def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
