"""A shop on the pretend Stripe: the official client, a customer's browser, a webhook endpoint."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import stripe as sdk

from sandbox.clouds import stripe
from sandbox.clouds.world import World
from tests.sandbox.clouds.live import Live

PRICE = "price_clawdet_monthly"
GOOD = "4242 4242 4242 4242"
DECLINED = "4000000000000002"
POOR = "4000000000009995"
ASKING = "4000002500003155"
ONCE = "4000000000000341"
CARD = {"card_number": GOOD, "card_expiry": "12 / 40", "card_cvc": "123"}
PATIENCE_S = 60.0


class Shop:
    """The seller's and the buyer's side of one pretend Stripe."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.url = f"{live.url}/stripe"
        self.secret = live.world.credentials.stripe_webhook_secret
        self.client = self.client_of(live.world.credentials.stripe_secret_key)
        self.v1: Any = self.client.v1

    def client_of(self, key: str) -> Any:
        return sdk.StripeClient(key, base_addresses={"api": self.url}, max_network_retries=0)

    def raw(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A request with the key, of a kind that the official client does not send."""
        key = self.live.world.credentials.stripe_secret_key
        headers = {"Authorization": f"Bearer {key}", **request.pop("headers", {})}
        return httpx.request(
            method, self.url + path, headers=headers, timeout=PATIENCE_S, **request
        )

    def session(self, **changes: Any) -> Any:
        """A new checkout session for one Clawdet."""
        asked: dict[str, Any] = {
            "mode": "subscription",
            "line_items": [{"price": PRICE, "quantity": 1}],
            "success_url": "http://shop.test/done?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://shop.test/plans",
        }
        return self.v1.checkout.sessions.create(asked | changes)

    def again(self, session: Any, *expand: str) -> Any:
        return self.v1.checkout.sessions.retrieve(session.id, {"expand": list(expand)})

    def subscribe(self, number: str = GOOD, **changes: Any) -> Any:
        """The subscription of a customer who has just paid."""
        session = self.session(**changes)
        assert pay(session.url, number).status_code == 303
        return self.v1.subscriptions.retrieve(self.again(session).subscription)

    def control(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/sandbox/{path}", json=body, timeout=PATIENCE_S)

    def advance(self, subscription: Any, **how: Any) -> Any:
        """Let time pass, by default to the period's end; the subscription after it."""
        asked = how or {"to": "period_end"}
        assert self.control("advance", subscription=subscription.id, **asked).status_code == 200
        return self.v1.subscriptions.retrieve(subscription.id)

    def deliveries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/sandbox/deliveries").json()[
            "deliveries"
        ]
        return found

    def event_types(self) -> list[str]:
        """What has happened, oldest first."""
        return [event.type for event in self.v1.events.list({"limit": 100}).data][::-1]


def pay(url: str, number: str = GOOD, **fields: str) -> httpx.Response:
    """Fill in a session's page and press Pay."""
    typed = {"email": "ann@example.com", **CARD, "card_number": number} | fields
    return httpx.post(url, data=typed, timeout=PATIENCE_S)


def wrong(page: httpx.Response) -> dict[str, str]:
    """The mistakes that a page shows, by the field they stand beside."""
    found = re.findall(r'<p class="wrong" id="(\w+)-wrong" role="alert">(.*?)</p>', page.text)
    for name, _ in found:
        assert f'aria-describedby="{name}-wrong"' in page.text
    return {name: text.replace("&#39;", "'") for name, text in found}


class Inbox:
    """A webhook endpoint. It answers with `answers` in turn, then with 200."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.answers: list[int] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(inbox.answers.pop(0) if inbox.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?from=stripe"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def events(self, secret: str) -> list[Any]:
        """What came, in its order; every signature is verified."""
        return [sdk.Webhook.construct_event(body, sign, secret) for body, sign in list(self.got)]

    def register(self, shop: Shop, *types: str) -> Any:
        asked = {"url": self.url, "enabled_events": list(types) or ["*"]}
        return shop.v1.webhook_endpoints.create(asked)


def until(holds: Callable[[], object]) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def open_shop(world: World) -> Iterator[Shop]:
    """A shop on the pretend Stripe of a world."""
    live = Live(world, {"/stripe": stripe.blueprint})
    try:
        yield Shop(live)
    finally:
        stripe.close(live.app)
        live.close()


@contextmanager
def open_inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    try:
        yield inbox
    finally:
        inbox.close()
