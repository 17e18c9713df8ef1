"""`flask webhooks`: what Stripe has told us."""

from typing import Any

import click

from webapp.billing.models import WebhookEvent
from webapp.fleet import queries, service
from webapp.fleet.commands.groups import actor, webhooks
from webapp.fleet.commands.printing import as_json, print_rows
from webapp.http.context import here


@webhooks.command("list")
@click.option("--q", default="", help="Part of the type, or of an id it is about.")
@click.option("--unhandled", is_flag=True, help="Only those that wait, or failed.")
@as_json
def list_webhooks(q: str, unhandled: bool, as_json: bool) -> None:
    """List the latest fifty, newest first."""
    with here().db.read() as session:
        found, _ = queries.webhooks(session, q, unhandled)
        rows = [_of_event(event) for event in found]
    nothing = "all handled" if unhandled else "none; Stripe is to send them to /api/webhooks/stripe"
    print_rows(rows, as_json, nothing)


@webhooks.command("replay")
@click.argument("event_id")
def replay(event_id: str) -> None:
    """Handle one once more: Stripe is asked again how things stand."""
    c = here()
    with c.db.begin() as session:
        service.replay(session, c.jobs, event_id, actor())
    click.echo(f"{event_id} is handled once more; next: flask webhooks list --q {event_id}")


def _of_event(event: WebhookEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "received": event.received_at,
        "handled": event.handled_at,
        "tries": event.tries,
        "outcome": event.outcome,
    }
