"""A subscription's life: it starts, renews, falls behind, ends."""

from dataclasses import dataclass, field
from typing import Any

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import discounts, invoicing, payment_methods, periods
from sandbox.clouds.stripe.ledger import Ledger, new_id, now

UPDATED = "customer.subscription.updated"


@dataclass(frozen=True)
class Order:
    """What a new subscription is for. `items` are pairs of a price and a quantity."""

    customer: str
    items: list[tuple[Document, int]]
    payment_method: str
    metadata: dict[str, str] = field(default_factory=dict)
    description: str | None = None
    automatic_tax: bool = False
    discounts: list[Document] = field(default_factory=list)


def start(ledger: Ledger, order: Order) -> Document:
    """A new, active subscription. Its first invoice is the caller's to make and collect."""
    subscription = _new(order)
    applied = [discounts.redeem(ledger, chosen, subscription) for chosen in order.discounts]
    subscription["discounts"] = [discount["id"] for discount in applied]
    return ledger.add(subscription, "customer.subscription.created")


def period_end(subscription: Document) -> int:
    """When the current period ends, in Unix seconds."""
    return int(subscription["items"]["data"][0]["current_period_end"])


def go_on(ledger: Ledger, subscription: Document) -> bool:
    """Do everything that is due by now: retry payments, renew, end. Whether anything was."""
    acted = False
    while subscription["status"] != "canceled":
        if _over(subscription):
            end(ledger, subscription)
        elif period_end(subscription) <= now():
            _renew(ledger, subscription)
        elif not _retry(ledger, subscription):
            break
        acted = True
    return acted


def settle(ledger: Ledger, subscription: Document) -> None:
    """Make the status agree with the invoices: behind while the latest is not paid."""
    if subscription["status"] == "canceled":
        return
    latest = ledger.find("invoice", subscription["latest_invoice"]) or {}
    status = "past_due" if latest.get("status") == "open" else "active"
    ledger.change(subscription, UPDATED, status=status)


def end(
    ledger: Ledger,
    subscription: Document,
    details: Document | None = None,
) -> Document:
    """Cancel at once. Open invoices stay, but are collected no longer."""
    moment = now()
    given = {**subscription["cancellation_details"], **(details or {})}
    ledger.change(
        subscription,
        None,
        cancellation_details={**given, "reason": "cancellation_requested"},
        canceled_at=subscription["canceled_at"] or moment,
        ended_at=moment,
        status="canceled",
    )
    for invoice in _open_invoices(ledger, subscription):
        ledger.change(invoice, None, auto_advance=False, next_payment_attempt=None)
    ledger.tell("customer.subscription.deleted", subscription)
    return subscription


def shift(ledger: Ledger, subscription: Document, seconds: int) -> None:
    """Let time pass for a subscription: everything about it happened that much earlier."""
    for invoice in invoicing.invoices_of(ledger, subscription):
        ledger.keep(_earlier(invoice, seconds))
    for id_ in subscription["discounts"]:
        ledger.keep(_earlier(ledger.get("discount", id_), seconds))
    subscription.update(_earlier(subscription, seconds))
    ledger.keep(subscription)


MOMENTS = {
    "billing_cycle_anchor",
    "cancel_at",
    "canceled_at",
    "created",
    "current_period_end",
    "current_period_start",
    "effective_at",
    "end",
    "finalized_at",
    "next_payment_attempt",
    "paid_at",
    "period_end",
    "period_start",
    "start",
    "start_date",
    "_previous_period_start",
}
INSIDE = {"items", "lines", "data", "period", "status_transitions"}
"""Fields of an object in which its own moments are."""


def _earlier(value: Any, seconds: int) -> Any:
    if isinstance(value, list):
        return [_earlier(entry, seconds) for entry in value]
    if not isinstance(value, dict):
        return value
    moved = dict(value)
    for name, inner in value.items():
        if name in MOMENTS and isinstance(inner, int):
            moved[name] = inner - seconds
        elif name in INSIDE:
            moved[name] = _earlier(inner, seconds)
    return moved


def _over(subscription: Document) -> bool:
    return subscription["cancel_at"] is not None and subscription["cancel_at"] <= now()


def _renew(ledger: Ledger, subscription: Document) -> None:
    items = subscription["items"]
    starts = period_end(subscription)
    renewed = [
        {**item, "current_period_start": starts, "current_period_end": _next(item, starts)}
        for item in items["data"]
    ]
    before = {"_previous_period_start": items["data"][0]["current_period_start"]}
    ledger.change(subscription, UPDATED, items={**items, "data": renewed}, **before)
    invoice = invoicing.bill(ledger, subscription, "subscription_cycle")
    method = payment_methods.for_subscription(ledger, subscription)
    invoicing.collect(ledger, invoice, method)
    settle(ledger, subscription)


def _retry(ledger: Ledger, subscription: Document) -> bool:
    due = [
        invoice
        for invoice in _open_invoices(ledger, subscription)
        if invoice["next_payment_attempt"] and invoice["next_payment_attempt"] <= now()
    ]
    for invoice in due:
        method = payment_methods.for_subscription(ledger, subscription)
        invoicing.collect(ledger, invoice, method)
        settle(ledger, subscription)
    return bool(due)


def _open_invoices(ledger: Ledger, subscription: Document) -> list[Document]:
    return [one for one in invoicing.invoices_of(ledger, subscription) if one["status"] == "open"]


def _next(item: Document, starts: int) -> int:
    recurring = item["price"]["recurring"]
    return periods.plus(starts, recurring["interval"], recurring["interval_count"])


def _item(subscription: str, price: Document, quantity: int, moment: int) -> Document:
    item: Document = {
        "id": new_id("si", 14),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": moment,
        "current_period_end": 0,
        "current_period_start": moment,
        "discounts": [],
        "metadata": {},
        "plan": plan(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }
    return item | {"current_period_end": _next(item, moment)}


def plan(price: Document) -> Document:
    """The older form of a price, which subscription items still carry."""
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def _new(order: Order) -> Document:
    moment, id_ = now(), new_id("sub")
    items = [_item(id_, price, quantity, moment) for price, quantity in order.items]
    return {
        "id": id_,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": order.automatic_tax,
            "liability": {"type": "self"} if order.automatic_tax else None,
        },
        "billing_cycle_anchor": moment,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": moment,
        "currency": items[0]["price"]["currency"],
        "customer": order.customer,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": order.payment_method,
        "default_source": None,
        "default_tax_rates": [],
        "description": order.description,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": {
            "object": "list",
            "data": items,
            "has_more": False,
            "total_count": len(items),
            "url": f"/v1/subscription_items?subscription={id_}",
        },
        "latest_invoice": None,
        "livemode": False,
        "metadata": order.metadata,
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": moment,
        "status": "active",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }
