"""Pages that only say something: terms and privacy."""

from flask import Blueprint, render_template

from webapp.http.access import public

pages = Blueprint("pages", __name__)


@pages.get("/terms")
@public
def terms() -> str:
    """What we promise, and what we ask."""
    return render_template("pages/terms.html")


@pages.get("/privacy")
@public
def privacy() -> str:
    """What we keep of people, and for how long."""
    return render_template("pages/privacy.html")
