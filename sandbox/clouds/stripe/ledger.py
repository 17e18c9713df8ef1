"""What the pretend Stripe remembers: its objects by type and id, and the events they cause.

An object is kept as the API writes it. Fields that begin with an underscore are the sandbox's own
and are never told.
"""

import secrets
import string
import time
from contextlib import AbstractContextManager
from typing import Any

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import deliveries
from sandbox.clouds.stripe.errors import no_such
from sandbox.clouds.world import World

API_VERSION = "2026-10-28.endive"
ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """An id in the vendor's form, such as cus_9fGh…"""
    return f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(length))}"


def now() -> int:
    """This moment in Unix seconds."""
    return int(time.time())


def view(value: Any) -> Any:
    """A document as the API tells it: without the sandbox's own fields."""
    if isinstance(value, dict):
        return {key: view(inner) for key, inner in value.items() if not key.startswith("_")}
    if isinstance(value, list):
        return [view(inner) for inner in value]
    return value


def remains(document: Document) -> Document:
    """What the API tells of a deleted object."""
    return {"id": document["id"], "object": document["object"], "deleted": True}


class Ledger:
    """Objects and events in the world's store. Writes belong into `transaction()`."""

    def __init__(self, world: World) -> None:
        self.store = world.store
        self.credentials = world.credentials
        self.queue = deliveries.Queue(world.store)

    def transaction(self) -> AbstractContextManager[None]:
        """Everything in it is kept together or not at all."""
        return self.store.transaction()

    def keep(self, document: Document) -> Document:
        """Create or replace an object, without an event."""
        self.store.put(f"stripe.{document['object']}", document["id"], document)
        return document

    def add(self, document: Document, event: str | None = None) -> Document:
        """Keep a new object and say that it was made: `event`, or "<type>.created"."""
        self.keep(document)
        self.tell(event or f"{document['object']}.created", document)
        return document

    def change(self, document: Document, event: str | None, **changes: Any) -> Document:
        """Change fields of an object, keep it, and say so, with what the fields were before.

        Nothing is said when nothing changed, or without `event`.
        """
        kept = self.find(document["object"], document["id"]) or document
        before = {
            name: kept.get(name) for name, value in changes.items() if kept.get(name) != value
        }
        document.update({**kept, **changes})
        self.keep(document)
        if event and before:
            self.tell(event, document, before)
        return document

    def find(self, kind: str, id_: str) -> Document | None:
        """An object, or None."""
        return self.store.get(f"stripe.{kind}", id_)

    def get(self, kind: str, id_: str, param: str = "id") -> Document:
        """An object that has not been deleted; ApiError about `param` when there is none."""
        found = self.find(kind, id_)
        if found is None or found.get("deleted"):
            raise no_such(kind, id_, param)
        return found

    def known(self, kind: str, id_: str) -> Document:
        """An object that another one names, which it may do after its deletion."""
        found = self.find(kind, id_)
        if found is None:
            raise LookupError(f"{kind} {id_} is named but not kept")
        return found

    def forget(self, document: Document, *, silent: bool = False) -> Document:
        """Delete an object, with an event unless silently; what is told of it from now on."""
        if not silent:
            self.tell(f"{document['object']}.deleted", document)
        self.keep({**document, "deleted": True})
        return remains(document)

    def all(self, kind: str, **wanted: Any) -> list[Document]:
        """Objects whose fields have these values, newest first."""
        found = self.store.all(f"stripe.{kind}")[::-1]
        return [
            document
            for document in found
            if not document.get("deleted")
            and all(document.get(name) == value for name, value in wanted.items())
        ]

    def tell(self, type_: str, document: Document, previous: Document | None = None) -> None:
        """Keep an event about an object as it is now, and queue it for the webhook endpoints."""
        data: Document = {"object": view(document)}
        if previous is not None:
            data["previous_attributes"] = view(previous)
        event = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": deliveries.cause(),
            "type": type_,
        }
        self.keep(event)
        self.queue.add(event, self.all("webhook_endpoint", status="enabled"))
