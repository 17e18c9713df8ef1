"""The fleet's blueprint, and what its pages share."""

from collections.abc import Callable

from flask import Blueprint, flash, redirect
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Invalid
from webapp.http.access import me
from webapp.http.context import here

fleet = Blueprint("fleet", __name__, url_prefix="/fleet", cli_group=None)


def actor() -> str:
    """The operator, as the record names them."""
    return f"operator {me().x_username}"


def act(change: Callable[[Session], str], back: str) -> Response:
    """Change something in one transaction, say what came of it, and lead back."""
    try:
        with here().db.begin() as session:
            text = change(session)
        flash(text, "waiting")
    except (Conflict, Invalid) as error:
        flash(f"{error.title} {error.detail}".strip(), "failed")
    return redirect(back, 303)
