"""Subscriptions, as the API knows them. They are made by paying a checkout session."""

from typing import Annotated, Any, Literal

from pydantic import Field

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import lifecycle
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Entries, Form, Listing, Metadata, merged, read
from sandbox.clouds.stripe.ledger import Ledger, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes

STATUSES = Literal[
    "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused",
    "trialing", "unpaid",
]  # fmt: skip
FEEDBACK = Literal[
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
]  # fmt: skip
STILL_CHANGEABLE = {"cancellation_details", "metadata"}
"""What an ended subscription lets change."""


class Details(Form):
    """Why a customer leaves."""

    comment: str | None = None
    feedback: FEEDBACK | None = None


class Item(Form):
    """A position as it shall be."""

    id: str | None = None
    price: str | None = None
    quantity: Annotated[int, Field(ge=1)] | None = None


class SubscriptionChange(Asked):
    """POST /v1/subscriptions/:id"""

    cancel_at: int | None = None
    cancel_at_period_end: bool | None = None
    cancellation_details: Details | None = None
    default_payment_method: str | None = None
    description: str | None = None
    items: Entries[Item] = []
    metadata: Metadata = {}
    off_session: bool | None = None
    payment_behavior: str | None = None
    proration_behavior: Literal["always_invoice", "create_prorations", "none"] | None = None


class Cancellation(Asked):
    """DELETE /v1/subscriptions/:id"""

    cancellation_details: Details = Details()
    invoice_now: bool = False
    prorate: bool = False


class SubscriptionListing(Listing):
    """Filters of the list."""

    customer: str | None = None
    price: str | None = None
    status: STATUSES | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Retrieve, update, cancel, list."""

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("subscription", id_)

    def update(id_: str) -> Document:
        asked, subscription = read(SubscriptionChange), ledger.get("subscription", id_)
        return ledger.change(
            subscription, lifecycle.UPDATED, **_changes(ledger, subscription, asked)
        )

    def cancel(id_: str) -> Document:
        asked, subscription = read(Cancellation), ledger.get("subscription", id_)
        if subscription["status"] == "canceled":
            raise invalid(f"No such subscription: '{id_}'", "id", "resource_missing", 404)
        details = asked.cancellation_details.model_dump(exclude_unset=True)
        return lifecycle.end(ledger, subscription, details)

    def listed() -> Document:
        asked = read(SubscriptionListing)
        wanted = asked.model_dump(include={"customer"}, exclude_none=True)
        found = ledger.all("subscription", **wanted)
        return page([one for one in found if _fits(one, asked)], asked)

    routes.add("GET", "/v1/subscriptions", listed)
    routes.add("GET", "/v1/subscriptions/<id_>", retrieve)
    routes.add("POST", "/v1/subscriptions/<id_>", update)
    routes.add("DELETE", "/v1/subscriptions/<id_>", cancel)


def cancel_later(subscription: Document, *, later: bool) -> Document:
    """The changes that make a subscription end with its period, or go on after all."""
    return {
        "cancel_at": lifecycle.period_end(subscription) if later else None,
        "cancel_at_period_end": later,
        "canceled_at": now() if later else None,
        "cancellation_details": {
            **subscription["cancellation_details"],
            "reason": "cancellation_requested" if later else None,
        },
    }


def _fits(subscription: Document, asked: SubscriptionListing) -> bool:
    """Without a status, all but the ended ones are listed."""
    status = subscription["status"]
    if asked.status is None:
        shown = status != "canceled"
    elif asked.status == "ended":
        shown = status == "canceled"
    else:
        shown = asked.status in ("all", status)
    prices = [item["price"]["id"] for item in subscription["items"]["data"]]
    return shown and (asked.price is None or asked.price in prices)


def _changes(ledger: Ledger, subscription: Document, asked: SubscriptionChange) -> Document:
    given = asked.model_fields_set
    if subscription["status"] == "canceled" and given - STILL_CHANGEABLE - {"expand"}:
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata."
        )
    changes: dict[str, Any] = asked.model_dump(include=given & {"description"})
    if "metadata" in given:
        changes["metadata"] = merged(subscription["metadata"], asked.metadata)
    if asked.items:
        changes["items"] = _items(ledger, subscription, asked.items)
    if "default_payment_method" in given:
        changes["default_payment_method"] = _card(ledger, subscription, asked)
    changes |= _ending(subscription, asked)
    if asked.cancellation_details:
        kept: Document = (subscription | changes)["cancellation_details"]
        told = asked.cancellation_details.model_dump(exclude_unset=True)
        changes["cancellation_details"] = kept | told
    return changes


def _ending(subscription: Document, asked: SubscriptionChange) -> Document:
    if asked.cancel_at is not None:
        if asked.cancel_at <= now():
            raise invalid("cancel_at must be in the future.", "cancel_at")
        return cancel_later(subscription, later=True) | {
            "cancel_at": asked.cancel_at,
            "cancel_at_period_end": False,
        }
    if asked.cancel_at_period_end is None:
        lifted = "cancel_at" in asked.model_fields_set
        return cancel_later(subscription, later=False) if lifted else {}
    if asked.cancel_at_period_end == subscription["cancel_at_period_end"]:
        return {}
    return cancel_later(subscription, later=asked.cancel_at_period_end)


def _card(ledger: Ledger, subscription: Document, asked: SubscriptionChange) -> str | None:
    id_ = asked.default_payment_method
    if id_ is not None:
        method = ledger.get("payment_method", id_, "default_payment_method")
        if method["customer"] != subscription["customer"]:
            raise invalid(
                f"The customer does not have a payment method with the ID {id_}.",
                "default_payment_method",
                "resource_missing",
            )
    return id_


def _items(ledger: Ledger, subscription: Document, wanted: list[Item]) -> Document:
    """The items after an update. The sandbox does not prorate: it counts from the next period."""
    items = subscription["items"]
    by_id = {item["id"]: item for item in items["data"]}
    for place, one in enumerate(wanted):
        item = by_id.get(one.id or "")
        if item is None:
            message = "The sandbox changes the items there are: give the id of one."
            raise invalid(message, f"items[{place}][id]")
        if one.price:
            item["price"] = ledger.get("price", one.price, f"items[{place}][price]")
            item["plan"] = lifecycle.plan(item["price"])
        item["quantity"] = one.quantity or item["quantity"]
    return {**items, "data": list(by_id.values())}
