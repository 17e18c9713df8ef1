"""Stripe: prices, checkout, subscriptions, refunds, events, in our own types.

https://docs.stripe.com/api; the version is the one that the `stripe` package pins.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import stripe
import structlog

from webapp.adapters import stripe_objects
from webapp.adapters.stripe_objects import (
    CheckoutSession,
    Invoice,
    Order,
    Price,
    StripeEvent,
    SubscriptionState,
)
from webapp.errors import Conflict, Invalid, NotFound, Unavailable
from webapp.settings import WebSettings

RETRIES = 2
PRICE_FRESH_S = 600.0
PRICE_PAUSE_S = 30.0
PAGE = 100
INVOICES = 24
"""Bills that are shown: two years of them."""

log = structlog.get_logger(__name__)


class Payments:
    """The Stripe API by the endpoint, key and time-out of the settings. Thread-safe.

    Every method raises Unavailable when trying again later may help, NotFound for what does not
    exist, Conflict or Invalid when Stripe refuses.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._client = stripe.StripeClient(
            settings.stripe_secret_key.get_secret_value(),
            base_addresses={"api": settings.stripe_api_base},
            max_network_retries=RETRIES,
            http_client=stripe.RequestsClient(timeout=settings.clawdet_adapter_timeout_s),
        )
        self._price: Price | None = None
        self._price_due = 0.0
        self._lock = threading.Lock()

    def price(self) -> Price:
        """The plan's price, kept for ten minutes; an older one rather than none.

        After a failure Stripe is left alone for a while: the price stands on pages that must not
        wait for it.
        """
        with self._lock:
            if time.monotonic() >= self._price_due:
                self._fetch_price()
            if self._price is None:
                raise _unavailable()
            return self._price

    def make_customer(self, user_id: str, email: str, name: str, key: str) -> str:
        """A customer's id; the same `key` never makes two."""
        with _as_ours():
            made = self._client.v1.customers.create(
                params={"email": email, "name": name, "metadata": {"user_id": user_id}},
                options={"idempotency_key": key},
            )
        return made.id

    def start_checkout(self, order: Order) -> CheckoutSession:
        """A hosted page to pay the plan on; the same order again is the same page."""
        ours = {
            "user_id": order.user_id,
            "checkout_id": order.checkout_id,
            "site": self._settings.clawdet_web_url,
        }
        tax = self._settings.stripe_automatic_tax
        params: dict[str, Any] = {
            "mode": "subscription",
            "line_items": [{"price": self._settings.stripe_price_id, "quantity": 1}],
            "customer": order.customer_id,
            "client_reference_id": order.user_id,
            "metadata": ours,
            "subscription_data": {"metadata": ours},
            "allow_promotion_codes": True,
            "automatic_tax": {"enabled": tax},
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
        }
        if tax:  # Stripe wants to keep the address that the tax is computed from
            params["customer_update"] = {"address": "auto", "name": "auto"}
        with _as_ours():
            made = self._client.v1.checkout.sessions.create(
                params=cast(Any, params), options={"idempotency_key": order.checkout_id}
            )
        return stripe_objects.session(made.to_dict())

    def checkout(self, session_id: str) -> CheckoutSession:
        """A checkout session as it is now."""
        with _as_ours():
            return stripe_objects.session(
                self._client.v1.checkout.sessions.retrieve(session_id).to_dict()
            )

    def expire_checkout(self, session_id: str) -> None:
        """Nobody can pay on that page any more; one that is over stays as it is."""
        try:
            with _as_ours():
                self._client.v1.checkout.sessions.expire(session_id)
        except Invalid:
            log.info("checkout_was_over", session=session_id)

    def portal_url(self, customer_id: str, return_url: str) -> str:
        """The hosted page on which customers change cards, see bills and cancel."""
        with _as_ours():
            made = self._client.v1.billing_portal.sessions.create(
                params={"customer": customer_id, "return_url": return_url}
            )
        return made.url

    def subscription(self, subscription_id: str) -> SubscriptionState:
        """A subscription as it is now."""
        with _as_ours():
            return stripe_objects.subscription(
                self._client.v1.subscriptions.retrieve(subscription_id).to_dict()
            )

    def subscriptions(self, customer_id: str) -> list[SubscriptionState]:
        """All that a customer ever had, newest first."""
        with _as_ours():
            found = self._client.v1.subscriptions.list(
                params={"customer": customer_id, "status": "all", "limit": PAGE}
            )
            return [stripe_objects.subscription(one.to_dict()) for one in found.auto_paging_iter()]

    def cancel(self, subscription_id: str) -> SubscriptionState:
        """End a subscription at once, without a refund; one that has ended stays so."""
        try:
            with _as_ours():
                ended = self._client.v1.subscriptions.cancel(subscription_id)
                return stripe_objects.subscription(ended.to_dict())
        except NotFound:  # what Stripe says of one that has ended
            return self.subscription(subscription_id)

    def refund_latest(self, subscription_id: str) -> int:
        """Give back the latest payment of a subscription, once; the cents that it was."""
        with _as_ours():
            found = self._client.v1.subscriptions.retrieve(
                subscription_id, params={"expand": ["latest_invoice.payments"]}
            )
        return sum(self._refund(*paid) for paid in stripe_objects.paid_intents(found.to_dict()))

    def invoices(self, customer_id: str) -> list[Invoice]:
        """The latest bills, newest first."""
        with _as_ours():
            found = self._client.v1.invoices.list(
                params={"customer": customer_id, "limit": INVOICES}
            )
        return [
            stripe_objects.invoice(one)
            for one in found.to_dict()["data"]
            if one["status"] != "draft"
        ]

    def events(self, since: datetime, types: Sequence[str]) -> Iterator[StripeEvent]:
        """What happened since then, newest first. Stripe keeps thirty days."""
        with _as_ours():
            found = self._client.v1.events.list(
                params={
                    "created": {"gte": int(since.timestamp())},
                    "types": list(types),
                    "limit": PAGE,
                }
            )
            for event in found.auto_paging_iter():
                yield stripe_objects.event(event.to_dict())

    def read_webhook(self, payload: bytes, signature: str | None) -> StripeEvent:
        """The event in a webhook's body. Invalid unless Stripe has signed it, lately."""
        secret = self._settings.stripe_webhook_secret.get_secret_value()
        try:
            self._client.construct_event(payload, signature, secret)
            return stripe_objects.event(json.loads(payload))
        except stripe.SignatureVerificationError as error:
            raise Invalid("That is not signed by Stripe.", "Nothing was stored.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Invalid("That is not an event.", "Nothing was stored.") from error

    def _fetch_price(self) -> None:
        try:
            with _as_ours():
                found = self._client.v1.prices.retrieve(
                    self._settings.stripe_price_id, options={"max_network_retries": 0}
                )
        except Unavailable:
            self._price_due = time.monotonic() + PRICE_PAUSE_S
            return
        self._price = stripe_objects.price(found.to_dict())
        self._price_due = time.monotonic() + PRICE_FRESH_S

    def _refund(self, intent_id: str, amount_cents: int) -> int:
        try:
            with _as_ours():
                self._client.v1.refunds.create(
                    params={"payment_intent": intent_id, "reason": "requested_by_customer"},
                    options={"idempotency_key": f"refund-{intent_id}"},
                )
        except Invalid as error:
            if not _is(error.__cause__, "charge_already_refunded"):
                raise
        return amount_cents


@contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        log.error("stripe_refuses_our_key", error=type(error).__name__)
        raise _unavailable() from error
    except stripe.IdempotencyError as error:
        raise Conflict("Something about this payment has changed.", "Start it again.") from error
    except stripe.InvalidRequestError as error:
        if error.http_status == 404 or error.code == "resource_missing":
            raise NotFound("Stripe knows nothing of this.", "It may have been removed.") from error
        log.warning("stripe_refuses", code=error.code, param=error.param)
        raise Invalid(
            "Stripe did not accept this.", "Nothing was charged. Ask us if it happens again."
        ) from error
    except stripe.StripeError as error:
        log.warning("stripe_unavailable", error=type(error).__name__, status=error.http_status)
        raise _unavailable() from error


def _unavailable() -> Unavailable:
    return Unavailable(
        "Stripe is not answering.", "Nothing was charged. Wait a moment, then try again."
    )


def _is(error: BaseException | None, code: str) -> bool:
    return isinstance(error, stripe.StripeError) and error.code == code
