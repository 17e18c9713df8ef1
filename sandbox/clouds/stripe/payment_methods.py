"""Payment methods: the cards on file."""

import hashlib

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.cards import CARDS
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Listing, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes


class MethodListing(Listing):
    """Filters of the list."""

    customer: str | None = None
    type: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Retrieve, list, detach."""

    def listed(customer: str | None = None) -> Document:
        asked = read(MethodListing)
        owner = customer or asked.customer
        if owner is None:
            raise invalid("Missing required param: customer.", "customer", "parameter_missing")
        return page(ledger.all("payment_method", customer=owner), asked)

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("payment_method", id_)

    def detach(id_: str) -> Document:
        read(Asked)
        method = ledger.get("payment_method", id_)
        if method["customer"] is None:
            raise invalid("The payment method you provided is not attached to a customer.")
        return ledger.change(method, "payment_method.detached", customer=None)

    routes.add("GET", "/v1/payment_methods", listed)
    routes.add("GET", "/v1/customers/<customer>/payment_methods", listed)
    routes.add("GET", "/v1/payment_methods/<id_>", retrieve)
    routes.add("POST", "/v1/payment_methods/<id_>/detach", detach)


def make(number: str, expiry: tuple[int, int], billing: Document) -> Document:
    """A card that is on nobody's file yet and not kept; `expiry` is month and year."""
    card = CARDS.get(number)
    brand = card.brand if card else "unknown"
    return {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "limited",
        "billing_details": {
            "address": billing.get("address") or no_address(),
            "email": billing.get("email"),
            "name": billing.get("name"),
            "phone": None,
            "tax_id": None,
        },
        "card": {
            "brand": brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": brand,
            "exp_month": expiry[0],
            "exp_year": expiry[1],
            "fingerprint": hashlib.sha256(number.encode()).hexdigest()[:16],
            "funding": "credit",
            "generated_from": None,
            "last4": number[-4:],
            "networks": {"available": [brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_number": number,
    }


def attach(ledger: Ledger, method: Document, customer: str) -> Document:
    """Put a card on a customer's file."""
    method["customer"] = customer
    return ledger.add(method, "payment_method.attached")


def replace(ledger: Ledger, customer: Document, method: Document) -> None:
    """Make a card the one that everything of the customer's is paid with from now on."""
    attach(ledger, method, customer["id"])
    settings = {**customer["invoice_settings"], "default_payment_method": method["id"]}
    ledger.change(customer, "customer.updated", invoice_settings=settings)
    for subscription in ledger.all("subscription", customer=customer["id"]):
        if subscription["status"] != "canceled" and subscription["default_payment_method"]:
            event = "customer.subscription.updated"
            ledger.change(subscription, event, default_payment_method=method["id"])


def for_subscription(ledger: Ledger, subscription: Document) -> Document | None:
    """The card that a subscription's invoices are paid with."""
    customer = ledger.find("customer", subscription["customer"]) or {}
    settings = customer.get("invoice_settings") or {}
    id_ = subscription["default_payment_method"] or settings.get("default_payment_method")
    method = ledger.find("payment_method", id_) if id_ else None
    return method if method and method["customer"] else None


def no_address() -> Document:
    """An address with nothing in it."""
    names = ("city", "country", "line1", "line2", "postal_code", "state")
    return dict.fromkeys(names)
