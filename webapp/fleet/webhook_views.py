"""What Stripe has told us, for operators."""

import json

from flask import render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from webapp.billing.models import WebhookEvent
from webapp.errors import NotFound
from webapp.fleet import queries, service
from webapp.fleet.blueprint import act, actor, fleet
from webapp.http.access import operators, operators_only
from webapp.http.context import here


@fleet.get("/webhooks")
@operators
def webhooks() -> str:
    """The latest first; `unhandled=1` for those that wait, or failed."""
    q = request.args.get("q", "").strip()[:100]
    unhandled = request.args.get("unhandled") == "1"
    page = max(1, request.args.get("page", 1, type=int))
    with here().db.read() as session:
        events, more = queries.webhooks(session, q, unhandled, page)
    return render_template(
        "fleet/webhooks.html",
        events=events,
        q=q,
        unhandled=unhandled,
        page=page,
        more=more,
    )


@fleet.get("/webhooks/<event_id>")
@operators
def webhook(event_id: str) -> str:
    """One event: what it was about and what came of it."""
    with here().db.read() as session:
        found = session.get(WebhookEvent, event_id)
    if found is None:
        raise NotFound("There is no such event.", "The list of webhooks shows those we have.")
    return render_template("fleet/webhook.html", event=found, payload=_pretty(found.payload))


@fleet.post("/webhooks/<event_id>/replay")
@operators_only
def replay(event_id: str) -> Response:
    """Handle it once more: Stripe is asked again how things stand."""

    def change(session: Session) -> str:
        service.replay(session, here().jobs, event_id, actor())
        return "It is handled once more."

    return act(change, url_for("fleet.webhook", event_id=event_id))


def _pretty(payload: str) -> str:
    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except ValueError:
        return payload
