"""`expand[]`: objects in place of their ids, and the fields that are told only on request."""

from collections.abc import Callable
from typing import Any

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.ledger import Ledger, remains
from sandbox.clouds.stripe.listing import whole

LEVELS = 4

KINDS = {
    "charge": "charge",
    "coupon": "coupon",
    "customer": "customer",
    "default_payment_method": "payment_method",
    "default_price": "price",
    "discount": "discount",
    "discounts": "discount",
    "invoice": "invoice",
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "price": "price",
    "product": "product",
    "promotion_code": "promotion_code",
    "subscription": "subscription",
}
"""The type of the object whose id a field holds."""


def _line_items(ledger: Ledger, session: Document) -> Document:
    del ledger
    return whole(session["_line_items"], url=f"/v1/checkout/sessions/{session['id']}/line_items")


def _payments(ledger: Ledger, invoice: Document) -> Document:
    payments = ledger.all("invoice_payment", invoice=invoice["id"])
    return whole(payments, url=f"/v1/invoice_payments?invoice={invoice['id']}")


def _refunds(ledger: Ledger, charge: Document) -> Document:
    refunds = ledger.all("refund", charge=charge["id"])
    return whole(refunds, url=f"/v1/charges/{charge['id']}/refunds")


def _subscriptions(ledger: Ledger, customer: Document) -> Document:
    found = [
        subscription
        for subscription in ledger.all("subscription", customer=customer["id"])
        if subscription["status"] != "canceled"
    ]
    return whole(found, url=f"/v1/customers/{customer['id']}/subscriptions")


def _nothing(ledger: Ledger, customer: Document) -> Document:
    del ledger
    return whole([], url=f"/v1/customers/{customer['id']}")


INCLUDED: dict[tuple[str, str], Callable[[Ledger, Document], Document]] = {
    ("charge", "refunds"): _refunds,
    ("checkout.session", "line_items"): _line_items,
    ("customer", "sources"): _nothing,
    ("customer", "subscriptions"): _subscriptions,
    ("customer", "tax_ids"): _nothing,
    ("invoice", "payments"): _payments,
}
"""Fields that are there only when `expand` names them, as in the vendor's API."""


def expand(ledger: Ledger, document: Document, paths: list[str]) -> None:
    """Change the document as the paths ask; ApiError for one that leads nowhere."""
    for path in paths:
        names = path.split(".")
        if len(names) > LEVELS:
            raise invalid(f"You cannot expand more than {LEVELS} levels of a property ({path}).")
        _open(ledger, document, names, path)


def _open(ledger: Ledger, holder: Any, names: list[str], path: str) -> None:
    if isinstance(holder, list):
        for entry in holder:
            _open(ledger, entry, names, path)
        return
    if holder is None or not names:
        return
    if not isinstance(holder, dict):
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    name = names[0]
    if name not in holder:
        include = INCLUDED.get((holder.get("object", ""), name))
        if include is None:
            raise invalid(f"This property cannot be expanded ({path}).", "expand")
        holder[name] = include(ledger, holder)
    holder[name] = _resolved(ledger, name, holder[name], path)
    _open(ledger, holder[name], names[1:], path)


def _resolved(ledger: Ledger, name: str, value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_resolved(ledger, name, entry, path) for entry in value]
    if not isinstance(value, str):
        return value
    if name not in KINDS:
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    found = ledger.find(KINDS[name], value)
    if found is None:
        return value
    return remains(found) if found.get("deleted") else found
