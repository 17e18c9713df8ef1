"""Stripe's objects in our own types: what of them the web app wants to know.

https://docs.stripe.com/api, in the version that the `stripe` package pins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Price:
    """What a subscription costs; `period` is "month", "year", "3 months"."""

    id: str
    amount_cents: int
    currency: str
    period: str


@dataclass(frozen=True)
class Order:
    """What a checkout session is made of. `checkout_id` is the idempotency key."""

    checkout_id: str
    user_id: str
    customer_id: str
    success_url: str
    cancel_url: str


@dataclass(frozen=True)
class CheckoutSession:
    """A hosted page. `status` is open, complete or expired; `url` is there while it is open."""

    id: str
    status: str
    url: str | None
    checkout_id: str
    user_id: str
    subscription_id: str | None
    expires_at: datetime
    is_paid: bool


@dataclass(frozen=True)
class SubscriptionState:
    """A subscription as Stripe has it.

    `user_id` and `site` (our public address) are what we wrote on it; "" if we did not make it.
    `ends_at_period_end`: it was cancelled and runs to `period_end`.
    """

    id: str
    customer_id: str
    user_id: str
    site: str
    status: str
    price_id: str
    amount_cents: int
    currency: str
    period: str
    created_at: datetime
    period_end: datetime | None
    ends_at_period_end: bool
    ended_at: datetime | None


@dataclass(frozen=True)
class Invoice:
    """A bill. `status` is open, paid, uncollectible or void; the links are Stripe's."""

    number: str
    at: datetime
    amount_cents: int
    currency: str
    status: str
    url: str | None
    pdf_url: str | None


@dataclass(frozen=True)
class StripeEvent:
    """That something happened: what kind of thing, and which. No more of it is kept.

    `object` is Stripe's name of the kind, such as `invoice`; `subscription_id` is the one that the
    object is or belongs to.
    """

    id: str
    type: str
    created_at: datetime
    object: str
    object_id: str
    subscription_id: str | None


def price(raw: Mapping[str, Any]) -> Price:
    """The plan, from a price object."""
    return Price(raw["id"], raw["unit_amount"] or 0, raw["currency"], _period(raw["recurring"]))


def session(raw: Mapping[str, Any]) -> CheckoutSession:
    """From a checkout session object."""
    metadata = raw.get("metadata") or {}
    return CheckoutSession(
        id=raw["id"],
        status=raw["status"] or "open",
        url=raw.get("url"),
        checkout_id=metadata.get("checkout_id", ""),
        user_id=metadata.get("user_id", ""),
        subscription_id=_id(raw.get("subscription")),
        expires_at=_at(raw["expires_at"]),
        is_paid=raw["payment_status"] in ("paid", "no_payment_required"),
    )


def subscription(raw: Mapping[str, Any]) -> SubscriptionState:
    """From a subscription object."""
    items = raw["items"]["data"]
    ends = [item["current_period_end"] for item in items]
    price = items[0]["price"] if items else {}
    cancel_at = raw.get("cancel_at")
    metadata = raw.get("metadata") or {}
    return SubscriptionState(
        id=raw["id"],
        customer_id=_id(raw["customer"]) or "",
        user_id=metadata.get("user_id", ""),
        site=metadata.get("site", ""),
        status=raw["status"],
        price_id=price.get("id", ""),
        amount_cents=sum((i["price"]["unit_amount"] or 0) * (i["quantity"] or 1) for i in items),
        currency=raw["currency"],
        period=_period(price.get("recurring")),
        created_at=_at(raw["created"]),
        period_end=_maybe_at(cancel_at or (max(ends) if ends else None)),
        ends_at_period_end=bool(raw["cancel_at_period_end"] or cancel_at),
        ended_at=_maybe_at(raw.get("ended_at")),
    )


def paid_intents(raw: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Payment intents that have paid the latest invoice, with the cents of each."""
    invoice = raw.get("latest_invoice")
    if not isinstance(invoice, Mapping):
        return []
    found = []
    for payment in (invoice.get("payments") or {}).get("data", []):
        intent = _id(payment["payment"].get("payment_intent"))
        if payment["status"] == "paid" and intent:
            found.append((intent, payment["amount_paid"] or 0))
    return found


def invoice(raw: Mapping[str, Any]) -> Invoice:
    """From an invoice object."""
    return Invoice(
        number=raw["number"] or "",
        at=_at(raw["created"]),
        amount_cents=raw["total"],
        currency=raw["currency"],
        status=raw["status"],
        url=raw.get("hosted_invoice_url"),
        pdf_url=raw.get("invoice_pdf"),
    )


def event(raw: Mapping[str, Any]) -> StripeEvent:
    """From an event object; KeyError or TypeError when it is none."""
    about = raw["data"]["object"]
    return StripeEvent(
        id=raw["id"],
        type=raw["type"],
        created_at=_at(raw["created"]),
        object=about["object"],
        object_id=about.get("id") or "",
        subscription_id=_subscription_of(about),
    )


def _period(recurring: Mapping[str, Any] | None) -> str:
    if recurring is None:
        return ""
    count, interval = recurring["interval_count"], str(recurring["interval"])
    return interval if count == 1 else f"{count} {interval}s"


def _subscription_of(about: Mapping[str, Any]) -> str | None:
    if about["object"] == "subscription":
        return _id(about["id"])
    parent = about.get("parent") or {}
    details = parent.get("subscription_details") or {} if isinstance(parent, Mapping) else {}
    return _id(details.get("subscription") or about.get("subscription"))


def _id(value: Any) -> str | None:
    """The id of something that may be expanded."""
    found: str | None = value["id"] if isinstance(value, Mapping) else value
    return found


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe_at(seconds: int | None) -> datetime | None:
    return None if seconds is None else _at(seconds)
