"""Customers."""

import re
from typing import Literal

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import lifecycle
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Entries, Form, Listing, Metadata, merged, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now, remains
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
EMAIL_LENGTH = 512


class Address(Form):
    """A postal address."""

    city: str | None = None
    country: str | None = None
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    state: str | None = None


class InvoiceSettings(Form):
    """What a customer's invoices are paid with."""

    default_payment_method: str | None = None
    footer: str | None = None


class CustomerFields(Asked):
    """POST /v1/customers and /v1/customers/:id"""

    address: Address | None = None
    description: str | None = None
    email: str | None = None
    invoice_settings: InvoiceSettings | None = None
    metadata: Metadata = {}
    name: str | None = None
    phone: str | None = None
    preferred_locales: Entries[str] = []
    tax_exempt: Literal["none", "exempt", "reverse"] = "none"


class CustomerListing(Listing):
    """Filters of the list."""

    email: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Create, retrieve, update, delete, list."""

    def create() -> Document:
        customer = new()
        return ledger.add(customer | _changes(ledger, customer, read(CustomerFields)))

    def retrieve(id_: str) -> Document:
        read(Asked)
        found = ledger.find("customer", id_)
        return remains(found) if found and found.get("deleted") else ledger.get("customer", id_)

    def update(id_: str) -> Document:
        customer = ledger.get("customer", id_)
        changes = _changes(ledger, customer, read(CustomerFields))
        return ledger.change(customer, "customer.updated", **changes)

    def delete(id_: str) -> Document:
        read(Asked)
        return _delete(ledger, ledger.get("customer", id_))

    def listed() -> Document:
        asked = read(CustomerListing)
        wanted = asked.model_dump(include={"email"}, exclude_none=True)
        return page(ledger.all("customer", **wanted), asked)

    routes.add("POST", "/v1/customers", create)
    routes.add("GET", "/v1/customers", listed)
    routes.add("GET", "/v1/customers/<id_>", retrieve)
    routes.add("POST", "/v1/customers/<id_>", update)
    routes.add("DELETE", "/v1/customers/<id_>", delete)


def new() -> Document:
    """A customer of whom nothing is known; not kept."""
    return {
        "id": new_id("cus", 14),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": now(),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": None,
        "invoice_prefix": new_id("x", 8)[2:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def check_email(email: str, param: str) -> None:
    """ApiError unless it looks like an e-mail address."""
    if not is_email(email):
        raise invalid(f"Invalid email address: {email}", param, "email_invalid")


def is_email(text: str) -> bool:
    """Whether a text looks like an e-mail address."""
    return len(text) <= EMAIL_LENGTH and ADDRESS.fullmatch(text) is not None


def _changes(ledger: Ledger, customer: Document, asked: CustomerFields) -> Document:
    changes = asked.model_dump(include=asked.model_fields_set, exclude={"expand"})
    if asked.email:
        check_email(asked.email, "email")
    if "metadata" in changes:
        changes["metadata"] = merged(customer["metadata"], asked.metadata)
    if asked.invoice_settings:
        _check_card(ledger, customer, asked.invoice_settings.default_payment_method)
        given = asked.invoice_settings.model_dump(exclude_unset=True)
        changes["invoice_settings"] = customer["invoice_settings"] | given
    return changes


def _check_card(ledger: Ledger, customer: Document, method: str | None) -> None:
    param = "invoice_settings[default_payment_method]"
    if method and ledger.get("payment_method", method, param)["customer"] != customer["id"]:
        raise invalid(
            f"The customer does not have a payment method with the ID {method}. The payment "
            "method must be attached to the customer.",
            param,
            "resource_missing",
        )


def _delete(ledger: Ledger, customer: Document) -> Document:
    for subscription in ledger.all("subscription", customer=customer["id"]):
        if subscription["status"] != "canceled":
            lifecycle.end(ledger, subscription)
    return ledger.forget(customer)
