"""What paying a checkout session does."""

from dataclasses import dataclass

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import cards, customers, invoicing, lifecycle, payment_methods, payments
from sandbox.clouds.stripe.cards import Decline
from sandbox.clouds.stripe.ledger import Ledger
from sandbox.clouds.stripe.lifecycle import Order


@dataclass(frozen=True)
class Buyer:
    """Who pays, and with what; `expiry` is month and year."""

    email: str
    name: str | None
    address: dict[str, str | None] | None
    number: str
    expiry: tuple[int, int]
    tax_id: str | None = None


def needs_authentication(buyer: Buyer) -> bool:
    """Whether the bank asks the customer before it pays."""
    card = cards.CARDS.get(buyer.number)
    return card is not None and card.authenticates


def refusal(ledger: Ledger, session: Document, buyer: Buyer, why: Decline | None) -> Decline | None:
    """The bank's word before anything is made: None when it would pay.

    A refused attempt leaves a failed charge and its events, nothing else. `why` is a refusal that
    is certain already.
    """
    why = why or cards.decline(buyer.number, present=True)
    if why is not None and session["amount_total"] > 0:
        amount, currency = session["amount_total"], session["currency"]
        intent = payments.intend(ledger, amount, currency, session["customer"], None)
        payments.confirm(ledger, intent, _method(buyer), present=True, refusal=why)
    return why


def complete(ledger: Ledger, session: Document, buyer: Buyer) -> None:
    """Make customer, subscription and paid invoice of a session whose card is good."""
    customer = _customer(ledger, session, buyer)
    method = payment_methods.attach(ledger, _method(buyer), customer["id"])
    subscription = lifecycle.start(
        ledger,
        Order(
            customer=customer["id"],
            items=[(item["price"], item["quantity"]) for item in session["_line_items"]],
            payment_method=method["id"],
            automatic_tax=session["automatic_tax"]["enabled"],
            discounts=session["discounts"],
            **session["_subscription"],
        ),
    )
    invoice = invoicing.bill(ledger, subscription, "subscription_create")
    invoicing.collect(ledger, invoice, method, present=True)
    paid = "paid" if session["amount_total"] > 0 else "no_payment_required"
    ledger.change(
        session,
        None,
        customer=customer["id"],
        customer_details=_details(customer, buyer),
        invoice=invoice["id"],
        payment_status=paid,
        status="complete",
        subscription=subscription["id"],
        url=None,
    )
    ledger.tell("checkout.session.completed", session)


def _method(buyer: Buyer) -> Document:
    billing = {"address": buyer.address, "email": buyer.email, "name": buyer.name}
    return payment_methods.make(buyer.number, buyer.expiry, billing)


def _customer(ledger: Ledger, session: Document, buyer: Buyer) -> Document:
    currency = {"currency": session["currency"]}
    if session["customer"]:
        customer = ledger.get("customer", session["customer"])
        learnt: Document = {"email": customer["email"] or buyer.email}
        for field, value in (("name", buyer.name), ("address", buyer.address)):
            if value and session["_customer_update"].get(field) == "auto":
                learnt[field] = value
        return ledger.change(customer, "customer.updated", **learnt, **currency)
    told = {"address": buyer.address, "email": buyer.email, "name": buyer.name}
    return ledger.add(customers.new() | told | currency)


def _details(customer: Document, buyer: Buyer) -> Document:
    tax_ids = [{"type": "eu_vat", "value": buyer.tax_id}] if buyer.tax_id else []
    return {
        "address": buyer.address or payment_methods.no_address(),
        "business_name": None,
        "email": customer["email"],
        "individual_name": None,
        "name": buyer.name,
        "phone": None,
        "tax_exempt": customer["tax_exempt"],
        "tax_ids": tax_ids,
    }
