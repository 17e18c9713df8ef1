"""Which event goes to which webhook endpoint, and when: the queue that the sender works off."""

import threading
import time
from typing import Any, Literal

from flask import g, has_request_context, request

from sandbox.clouds.store import Document, Store

Mode = Literal["normal", "hold", "duplicate", "reverse", "drop"]

OPEN = "stripe.delivery"
"""Deliveries that are to be sent now or later."""
CLOSED = "stripe.delivery.closed"
"""Deliveries that are over: delivered, given up or dropped."""
SETTING = "stripe.setting"
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Before each repetition; the last counts from then on. The vendor's grow over three days."""
ROUNDS = 100
"""An endpoint that has not answered by then (a quarter of an hour) does not get the event."""
COPIES = 3
"""How often an event is sent at once in mode `duplicate`."""


def cause() -> Document:
    """The request that an event is due to."""
    if not has_request_context():
        return {"id": None, "idempotency_key": None}
    key = request.headers.get("Idempotency-Key")
    return {"id": g.get("stripe_request_id"), "idempotency_key": key}


class Queue:
    """Deliveries in the store: they outlive the process. `wake` is set when there is work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.wake = threading.Event()

    def mode(self) -> Mode:
        """How events are delivered at the moment."""
        setting = self._store.get(SETTING, "deliveries")
        mode: Mode = setting["mode"] if setting else "normal"
        return mode

    def set_mode(self, mode: Mode) -> None:
        """Change how events are delivered. All but `hold` and `drop` release what is held.

        `reverse` releases it newest first; from then on the mode is `normal`.
        """
        with self._store.transaction():
            kept = "normal" if mode == "reverse" else mode
            self._store.put(SETTING, "deliveries", {"mode": kept})
            if mode == "hold":
                self._hold()
            elif mode != "drop":
                self._release(backwards=mode == "reverse")
        self.wake.set()

    def add(self, event: Document, endpoints: list[Document]) -> None:
        """Queue an event for those of the endpoints that want it."""
        mode = self.mode()
        wanting = [endpoint for endpoint in endpoints if _wants(endpoint, event["type"])]
        for endpoint in wanting:
            self._put(event, endpoint, mode)
        if wanting and mode != "drop":
            event["pending_webhooks"] = len(wanting)
            self._store.put("stripe.event", event["id"], event)
        self.wake.set()

    def resend(self, event: Document, endpoints: list[Document]) -> int:
        """Queue an event once more, whatever the mode; how many endpoints will get it."""
        wanting = [endpoint for endpoint in endpoints if _wants(endpoint, event["type"])]
        for endpoint in wanting:
            self._put(event, endpoint, "normal")
        self.wake.set()
        return len(wanting)

    def due(self) -> list[Document]:
        """What is to be sent now, in its order."""
        moment = time.time()
        return [entry for entry in self._waiting() if entry["next_at"] <= moment]

    def next_at(self) -> float | None:
        """When something will be due, in Unix seconds; None when nothing will."""
        return min((entry["next_at"] for entry in self._waiting()), default=None)

    def close(self, entry: Document, attempts: list[Document]) -> None:
        """Write down what sending came to: it is over, or waits for its repetition."""
        with self._store.transaction():
            tried = {**entry, "attempts": [*entry["attempts"], *attempts]}
            rounds = tried["rounds"] = entry["rounds"] + 1
            if any(200 <= (attempt["status"] or 0) < 300 for attempt in attempts):
                self._end(tried, "delivered")
            elif rounds == ROUNDS:
                self._end(tried, "failed")
            else:
                tried["next_at"] = time.time() + PAUSES_S[min(rounds, len(PAUSES_S)) - 1]
                tried["state"] = "held" if self.mode() == "hold" else "pending"
                self._store.put(OPEN, entry["id"], tried)

    def abandon(self, entry: Document) -> None:
        """Never send it: its endpoint is gone."""
        with self._store.transaction():
            self._end(entry, "dropped")

    def is_pending(self, entry: Document) -> bool:
        """Whether it is still to be sent, as `due` said."""
        kept = self._store.get(OPEN, entry["id"])
        return kept is not None and kept["state"] == "pending"

    def copies(self) -> int:
        """How often each event is sent at once."""
        return COPIES if self.mode() == "duplicate" else 1

    def all(self) -> list[Document]:
        """Every delivery there ever was, oldest first."""
        found = [*self._store.all(CLOSED), *self._store.all(OPEN)]
        return sorted(found, key=lambda entry: int(entry["id"]))

    def _waiting(self) -> list[Document]:
        entries = [entry for entry in self._store.all(OPEN) if entry["state"] == "pending"]
        return sorted(entries, key=lambda entry: (entry["next_at"], entry["place"]))

    def _put(self, event: Document, endpoint: Document, mode: Mode) -> None:
        number = self._store.next_id(OPEN, first=1)
        entry: dict[str, Any] = {
            "id": number,
            "event": event["id"],
            "type": event["type"],
            "endpoint": endpoint["id"],
            "url": endpoint["url"],
            "state": "held" if mode == "hold" else "pending",
            "place": number,
            "next_at": time.time(),
            "rounds": 0,
            "attempts": [],
        }
        if mode == "drop":
            self._store.put(CLOSED, number, {**entry, "state": "dropped"})
        else:
            self._store.put(OPEN, number, entry)

    def _hold(self) -> None:
        for entry in self._store.all(OPEN):
            self._store.put(OPEN, entry["id"], {**entry, "state": "held"})

    def _release(self, *, backwards: bool) -> None:
        moment = time.time()
        for entry in self._store.all(OPEN):
            if entry["state"] == "held":
                place = -entry["id"] if backwards else entry["id"]
                entry |= {"state": "pending", "next_at": moment, "place": place}
                self._store.put(OPEN, entry["id"], entry)

    def _end(self, entry: Document, state: str) -> None:
        self._store.delete(OPEN, entry["id"])
        self._store.put(CLOSED, entry["id"], {**entry, "state": state})
        event = self._store.get("stripe.event", entry["event"])
        if event and event["pending_webhooks"] > 0:
            event["pending_webhooks"] -= 1
            self._store.put("stripe.event", event["id"], event)


def _wants(endpoint: Document, type_: str) -> bool:
    return any(name in ("*", type_) for name in endpoint["enabled_events"])
