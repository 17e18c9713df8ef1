"""The sandbox's Stripe as its customers, its banks and its account holder use it."""

from typing import Any
from urllib.parse import urljoin

import requests

from sandbox.supervisor import Sandbox

GOOD, DECLINED, ASKS_THE_BANK = "4242424242424242", "4000000000000002", "4000002500003155"
FAILS_LATER = "4000000000000341"
TIMEOUT_S = 60

Document = dict[str, Any]


class StripeAccount:
    """Pays on hosted pages, lets time pass, looks up what there is."""

    def __init__(self, sandbox: Sandbox, session: requests.Session) -> None:
        environment = sandbox.environment()
        self.base = environment["STRIPE_API_BASE"]
        self.price_id = environment["STRIPE_PRICE_ID"]
        self.secret = environment["STRIPE_WEBHOOK_SECRET"]
        self._admin_url = sandbox.admin_url
        self._session = session
        self._key = environment["STRIPE_SECRET_KEY"]

    # -- as a customer -------------------------------------------------------------------------

    def pay(self, url: str, number: str = GOOD) -> requests.Response:
        """Fill in the card on a checkout page; not followed where it leads."""
        card = {"card_number": number, "card_expiry": "12 / 34", "card_cvc": "123"}
        return self._session.post(
            url, data={**card, "name": "Alice"}, allow_redirects=False, timeout=TIMEOUT_S
        )

    def answer_the_bank(self, url: str, answer: str) -> requests.Response:
        """On the bank's page: `complete` or anything else."""
        return self._session.post(
            urljoin(self.base, url),
            data={"answer": answer},
            allow_redirects=False,
            timeout=TIMEOUT_S,
        )

    def look(self, url: str) -> requests.Response:
        """Open a page."""
        return self._session.get(url, timeout=TIMEOUT_S)

    # -- as the account's holder ---------------------------------------------------------------

    def call(self, method: str, path: str, **fields: Any) -> Document:
        """A request to the API."""
        answer = self._session.request(
            method,
            f"{self.base}/v1/{path}",
            params=fields if method == "GET" else None,
            data=fields if method != "GET" else None,
            auth=(self._key, ""),
            timeout=TIMEOUT_S,
        )
        answer.raise_for_status()
        found: Document = answer.json()
        return found

    def all(self, path: str, **fields: Any) -> list[Document]:
        """The first hundred of a list, newest first."""
        found: list[Document] = self.call("GET", path, limit=100, **fields)["data"]
        return found

    def subscriptions(self, customer: str) -> list[Document]:
        return self.all("subscriptions", customer=customer, status="all")

    def refunded_cents(self, customer: str) -> int:
        charges = self.all("charges", customer=customer)
        return sum(charge["amount_refunded"] for charge in charges)

    def events_of(self, customer: str) -> list[Document]:
        """Events about a customer's things, newest first."""
        return [
            event
            for event in self.all("events")
            if event["data"]["object"].get("customer") == customer
        ]

    # -- as the sandbox's operator -------------------------------------------------------------

    def control(self, path: str, **body: Any) -> Document:
        answer = self._session.post(f"{self.base}/sandbox/{path}", json=body, timeout=TIMEOUT_S)
        answer.raise_for_status()
        found: Document = answer.json()
        return found

    def renew(self, subscription: str) -> Document:
        """Let its period end: it renews, fails to, or ends."""
        return self.control("advance", subscription=subscription, to="period_end")

    def deliver(self, mode: str) -> None:
        """How webhooks come from now on."""
        self.control("deliveries", mode=mode)

    def undelivered(self) -> int:
        """Deliveries that are waiting or held."""
        answer = self._session.get(f"{self.base}/sandbox/deliveries", timeout=TIMEOUT_S)
        entries = answer.json()["deliveries"]
        return sum(entry["state"] in ("pending", "held") for entry in entries)

    def fail(self, **rule: Any) -> None:
        """The next requests go wrong: sandbox.clouds.faults.Rule."""
        answer = self._session.post(
            f"{self._admin_url}/faults", json={"vendor": "stripe", **rule}, timeout=TIMEOUT_S
        )
        answer.raise_for_status()

    def mend(self) -> None:
        """No faults any more."""
        self._session.delete(f"{self._admin_url}/faults", timeout=TIMEOUT_S)

    def requests_since(self, number: int) -> list[Document]:
        """Requests to Stripe with a higher number."""
        answer = self._session.get(
            f"{self._admin_url}/requests", params={"since": number}, timeout=TIMEOUT_S
        )
        return [one for one in answer.json()["requests"] if one["vendor"] == "stripe"]

    def last_request(self) -> int:
        """The number of the latest request."""
        return max((one["number"] for one in self.requests_since(0)), default=0)
