"""Webhook endpoints: where events go. All sign with the sandbox's one webhook secret."""

from typing import Annotated

from pydantic import Field

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Entries, Listing, Metadata, check_url, merged, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes

KIND = "webhook_endpoint"
MOST = 16
"""Endpoints that an account may have."""


class NewEndpoint(Asked):
    """POST /v1/webhook_endpoints"""

    url: str
    enabled_events: Annotated[Entries[str], Field(min_length=1)]
    api_version: str | None = None
    description: str | None = None
    metadata: Metadata = {}


class EndpointChange(Asked):
    """POST /v1/webhook_endpoints/:id"""

    description: str | None = None
    disabled: bool | None = None
    enabled_events: Entries[str] = []
    metadata: Metadata = {}
    url: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Create (the answer alone tells the secret), retrieve, update, delete, list."""

    def create() -> Document:
        asked = read(NewEndpoint)
        check_url(asked.url, "url")
        if len(ledger.all(KIND)) >= MOST:
            raise invalid(f"You have reached the maximum of {MOST} test webhook endpoints.")
        made = ledger.keep(_new(asked))
        return made | {"secret": ledger.credentials.stripe_webhook_secret}

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get(KIND, id_)

    def update(id_: str) -> Document:
        asked, endpoint = read(EndpointChange), ledger.get(KIND, id_)
        if asked.url:
            check_url(asked.url, "url")
        given = asked.model_fields_set - {"expand", "disabled", "metadata"}
        changes = asked.model_dump(include=given)
        if "metadata" in asked.model_fields_set:
            changes["metadata"] = merged(endpoint["metadata"], asked.metadata)
        if asked.disabled is not None:
            changes["status"] = "disabled" if asked.disabled else "enabled"
        return ledger.change(endpoint, None, **changes)

    def delete(id_: str) -> Document:
        read(Asked)
        return ledger.forget(ledger.get(KIND, id_), silent=True)

    def listed() -> Document:
        asked = read(Listing)
        return page(ledger.all(KIND), asked)

    routes.add("POST", "/v1/webhook_endpoints", create)
    routes.add("GET", "/v1/webhook_endpoints", listed)
    routes.add("GET", "/v1/webhook_endpoints/<id_>", retrieve)
    routes.add("POST", "/v1/webhook_endpoints/<id_>", update)
    routes.add("DELETE", "/v1/webhook_endpoints/<id_>", delete)


def _new(asked: NewEndpoint) -> Document:
    return {
        "id": new_id("we"),
        "object": KIND,
        "api_version": asked.api_version,
        "application": None,
        "created": now(),
        "description": asked.description,
        "enabled_events": asked.enabled_events,
        "livemode": False,
        "metadata": merged({}, asked.metadata),
        "status": "enabled",
        "url": asked.url,
    }
