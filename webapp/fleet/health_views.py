"""The health page."""

from flask import render_template

from webapp import clock
from webapp.fleet import checks
from webapp.fleet.blueprint import fleet
from webapp.http.access import operators
from webapp.http.context import here


@fleet.get("/health")
@operators
def health() -> str:
    """Each dependency: well, or what to do."""
    c = here()
    found = checks.look(c.db, c.jobs, c.settings, clock.now())
    return render_template("fleet/health.html", health=found)
