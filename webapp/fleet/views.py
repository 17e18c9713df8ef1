"""The fleet: what needs somebody, then everything."""

from flask import render_template, request

from webapp import clock
from webapp.fleet import (
    commands,
    health_views,
    instance_views,
    queries,
    user_views,
    webhook_views,
)
from webapp.fleet.blueprint import fleet
from webapp.http.access import operators
from webapp.http.context import here

__all__ = ["commands", "fleet", "health_views", "instance_views", "user_views", "webhook_views"]


@fleet.get("")
@operators
def index() -> str:
    """The table, as the address bar filters it."""
    filters = queries.Filters(
        q=request.args.get("q", "").strip()[:100],
        state=request.args.get("state", ""),
        sort=request.args.get("sort", "newest"),
        page=max(1, request.args.get("page", 1, type=int)),
    )
    at, deadline_s = clock.now(), here().settings.clawdet_live_deadline_s
    with here().db.read() as session:
        needing = queries.needing(session, at, deadline_s) if filters.is_plain else []
        page = queries.fleet(session, filters, at, deadline_s)
        return render_template(
            "fleet/index.html",
            needing=needing,
            found=page,
            filters=filters,
            states=queries.STATES,
            sorts=list(queries.SORTS),
            at=at,
        )
