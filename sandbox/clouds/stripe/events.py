"""Events, as the API knows them: everything that changed, whether or not anybody listens."""

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Entries, Listing, read
from sandbox.clouds.stripe.ledger import Ledger
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes


class EventListing(Listing):
    """Filters of the list. A type may end with .* for all that begin like it."""

    delivery_success: bool | None = None
    type: str | None = None
    types: Entries[str] = []


def register(routes: Routes, ledger: Ledger) -> None:
    """Retrieve, list."""

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("event", id_)

    def listed() -> Document:
        asked = read(EventListing)
        if asked.type and asked.types:
            raise invalid("You may only specify one of these parameters: type, types.", "type")
        wanted = [asked.type] if asked.type else asked.types
        found = [event for event in ledger.all("event") if _fits(event, wanted)]
        if asked.delivery_success is not None:
            success = asked.delivery_success
            found = [one for one in found if (one["pending_webhooks"] == 0) == success]
        return page(found, asked)

    routes.add("GET", "/v1/events", listed)
    routes.add("GET", "/v1/events/<id_>", retrieve)


def _fits(event: Document, wanted: list[str]) -> bool:
    type_: str = event["type"]
    return not wanted or any(
        type_ == name or (name.endswith("*") and type_.startswith(name[:-1])) for name in wanted
    )
