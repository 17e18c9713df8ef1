"""The thread that delivers events to webhook endpoints, signed as the vendor signs them."""

import hashlib
import hmac
import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.deliveries import COPIES
from sandbox.clouds.stripe.ledger import Ledger, view

TIMEOUT_S = 10.0
"""For connecting and for each read of the answer."""
TICK_S = 30.0
"""Longest pause between two looks at what time has brought about."""
USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"


def signature(secret: str, moment: int, payload: str) -> str:
    """The Stripe-Signature header of a payload sent at a moment (Unix seconds)."""
    signed = hmac.new(secret.encode(), f"{moment}.{payload}".encode(), hashlib.sha256)
    return f"t={moment},v1={signed.hexdigest()}"


class Sender:
    """Sends what the queue holds until `close`; `tick` is called at least every TICK_S seconds.

    It ends by itself when the store is closed.
    """

    def __init__(self, ledger: Ledger, tick: Callable[[], None]) -> None:
        self._ledger = ledger
        self._tick = tick
        self._ending = False
        self._copies = ThreadPoolExecutor(COPIES, thread_name_prefix="stripe-webhook")
        self._thread = threading.Thread(target=self._run, name="stripe-sender", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what is being sent, and end."""
        self._ending = True
        self._ledger.queue.wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ending:
                self._wait()
                self._tick()
                for entry in self._ledger.queue.due():
                    if not self._ending:
                        self._send(entry)
        except sqlite3.ProgrammingError as error:
            if "closed database" not in str(error):
                raise
        finally:
            self._copies.shutdown()

    def _wait(self) -> None:
        queue = self._ledger.queue
        next_at = queue.next_at()
        pause = TICK_S if next_at is None else min(TICK_S, next_at - time.time())
        queue.wake.wait(max(0.0, pause))
        queue.wake.clear()

    def _send(self, entry: Document) -> None:
        queue = self._ledger.queue
        if not queue.is_pending(entry):
            return
        endpoint = self._ledger.find("webhook_endpoint", entry["endpoint"])
        if endpoint is None or endpoint.get("deleted") or endpoint["status"] != "enabled":
            queue.abandon(entry)
            return
        event = self._ledger.find("event", entry["event"])
        payload = json.dumps(view(event), indent=2, ensure_ascii=False)
        secret = self._ledger.credentials.stripe_webhook_secret
        tries = [
            self._copies.submit(_post, endpoint["url"], payload, secret)
            for _ in range(queue.copies())
        ]
        queue.close(entry, [attempt.result() for attempt in tries])


def _post(url: str, payload: str, secret: str) -> Document:
    """One attempt: when, and the status or what went wrong."""
    moment = int(time.time())
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature(secret, moment, payload),
        "User-Agent": USER_AGENT,
    }
    try:
        status = _status(url, payload.encode(), headers)
    except (OSError, http.client.HTTPException) as error:
        return {"at": moment, "status": None, "error": str(error) or type(error).__name__}
    return {"at": moment, "status": status, "error": None}


def _status(url: str, payload: bytes, headers: dict[str, str]) -> int:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=TIMEOUT_S)
    try:
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("POST", path, payload, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
