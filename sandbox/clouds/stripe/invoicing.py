"""How an invoice comes about and is paid."""

from flask import url_for

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import discounts, payments, periods
from sandbox.clouds.stripe.cards import Decline
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.words import every, money

DAY_S = 86_400
RETRIES_S = (3 * DAY_S, 5 * DAY_S, 7 * DAY_S)
"""Pauses before a failed payment is tried again by itself; after them it is left open."""
NO_CARD = Decline(
    "resource_missing",
    "no_payment_method",
    "This customer has no attached payment source or default payment method.",
)


def bill(ledger: Ledger, subscription: Document, reason: str) -> Document:
    """Make and finalise the invoice of a subscription's current period; nothing is paid yet."""
    customer = ledger.get("customer", subscription["customer"])
    applied = _running(ledger, subscription)
    invoice = _draft(subscription, customer, reason)
    lines = [_line(ledger, invoice, item) for item in subscription["items"]["data"]]
    subtotal = sum(line["amount"] for line in lines)
    taken = _taken(ledger, applied, subtotal)
    total = subtotal - sum(amount["amount"] for amount in taken)
    invoice |= {
        "amount_due": total,
        "amount_remaining": total,
        "discounts": [discount["id"] for discount in applied],
        "lines": {
            "object": "list",
            "data": lines,
            "has_more": False,
            "total_count": len(lines),
            "url": f"/v1/invoices/{invoice['id']}/lines",
        },
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_discount_amounts": taken,
        "total_excluding_tax": total,
    }
    ledger.add(invoice)
    _finalize(ledger, invoice, customer)
    ledger.change(subscription, None, latest_invoice=invoice["id"])
    _use_up(ledger, subscription, applied)
    return invoice


def collect(
    ledger: Ledger, invoice: Document, method: Document | None, *, present: bool = False
) -> Decline | None:
    """Try to pay an open invoice with a card: None when it is paid, else why it is not."""
    why: Decline | None = None
    if invoice["amount_remaining"] > 0:
        payment = ledger.all("invoice_payment", invoice=invoice["id"])[0]
        intent = ledger.get("payment_intent", payment["payment"]["payment_intent"])
        why = NO_CARD
        if method is not None:
            why = payments.confirm(ledger, intent, method, present=present)
        if why is None:
            _pay_payment(ledger, payment)
    if why is None:
        _paid(ledger, invoice)
    else:
        _failed(ledger, invoice)
    return why


def mark_paid(ledger: Ledger, invoice: Document) -> None:
    """Take an open invoice as paid in some other way."""
    for payment in ledger.all("invoice_payment", invoice=invoice["id"]):
        ledger.change(payment, None, status="canceled")
        intent = ledger.get("payment_intent", payment["payment"]["payment_intent"])
        canceled = {"status": "canceled", "canceled_at": now()}
        ledger.change(intent, "payment_intent.canceled", **canceled)
    _paid(ledger, invoice)


def invoices_of(ledger: Ledger, subscription: Document) -> list[Document]:
    """A subscription's invoices, newest first."""
    return [
        invoice
        for invoice in ledger.all("invoice", customer=subscription["customer"])
        if invoice["parent"]["subscription_details"]["subscription"] == subscription["id"]
    ]


def _running(ledger: Ledger, subscription: Document) -> list[Document]:
    """The discounts that apply to the period for which the next invoice is made.

    Periods are counted, not dated: time that was let pass makes months of other lengths.
    """
    recurring = subscription["items"]["data"][0]["price"]["recurring"]
    past = len(invoices_of(ledger, subscription)) * recurring["interval_count"]
    running = []
    for id_ in subscription["discounts"]:
        discount = ledger.get("discount", id_)
        months = ledger.known("coupon", discount["source"]["coupon"])["duration_in_months"]
        start = periods.plus(discount["start"], recurring["interval"], past)
        if not months or start < periods.plus(discount["start"], "month", months):
            running.append(discount)
    return running


def _taken(ledger: Ledger, applied: list[Document], subtotal: int) -> list[Document]:
    left, taken = subtotal, []
    for discount in applied:
        amount = discounts.taken_off(ledger.known("coupon", discount["source"]["coupon"]), left)
        left -= amount
        taken.append({"amount": amount, "discount": discount["id"]})
    return taken


def _use_up(ledger: Ledger, subscription: Document, applied: list[Document]) -> None:
    """A discount that is for once has been used now."""
    for discount in applied:
        coupon = ledger.known("coupon", discount["source"]["coupon"])
        if coupon["duration"] == "once":
            left = [id_ for id_ in subscription["discounts"] if id_ != discount["id"]]
            ledger.change(subscription, None, discounts=left)


def _finalize(ledger: Ledger, invoice: Document, customer: Document) -> None:
    number = customer["next_invoice_sequence"]
    ledger.change(customer, None, next_invoice_sequence=number + 1)
    ledger.change(
        invoice,
        "invoice.finalized",
        effective_at=now(),
        hosted_invoice_url=url_for("stripe.invoice_page", id_=invoice["id"], _external=True),
        invoice_pdf=url_for("stripe.invoice_pdf", id_=invoice["id"], _external=True),
        number=f"{customer['invoice_prefix']}-{number:04}",
        status="open",
        status_transitions={**invoice["status_transitions"], "finalized_at": now()},
    )
    if invoice["total"] > 0:
        _open_payment(ledger, invoice)


def _open_payment(ledger: Ledger, invoice: Document) -> None:
    description = f"Invoice {invoice['number']}"
    amount, currency = invoice["total"], invoice["currency"]
    intent = payments.intend(ledger, amount, currency, invoice["customer"], description)
    ledger.keep(
        {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": amount,
            "created": now(),
            "currency": currency,
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )


def _pay_payment(ledger: Ledger, payment: Document) -> None:
    ledger.change(
        payment,
        "invoice_payment.paid",
        amount_paid=payment["amount_requested"],
        status="paid",
        status_transitions={"canceled_at": None, "paid_at": now()},
    )


def _paid(ledger: Ledger, invoice: Document) -> None:
    ledger.change(
        invoice,
        None,
        amount_paid=invoice["amount_due"],
        amount_remaining=0,
        attempt_count=invoice["attempt_count"] + 1,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
        status="paid",
        status_transitions={**invoice["status_transitions"], "paid_at": now()},
    )
    ledger.tell("invoice.paid", invoice)
    ledger.tell("invoice.payment_succeeded", invoice)


def _failed(ledger: Ledger, invoice: Document) -> None:
    tried = invoice["attempt_count"]
    again = now() + RETRIES_S[tried] if tried < len(RETRIES_S) else None
    ledger.change(
        invoice,
        "invoice.updated",
        attempt_count=tried + 1,
        attempted=True,
        next_payment_attempt=again,
    )
    ledger.tell("invoice.payment_failed", invoice)


def _line(ledger: Ledger, invoice: Document, item: Document) -> Document:
    price, quantity = item["price"], item["quantity"]
    amount = price["unit_amount"] * quantity
    product = ledger.known("product", price["product"])
    cost = f"{money(price['unit_amount'], price['currency'])} {every(price['recurring'])}"
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": f"{quantity} × {product['name']} (at {cost})",  # noqa: RUF001
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": item["metadata"],
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "subtotal": amount,
        "taxes": [],
    }


def _draft(subscription: Document, customer: Document, reason: str) -> Document:
    tax = subscription["automatic_tax"]["enabled"]
    return {
        "id": new_id("in"),
        "object": "invoice",
        "account_country": "DE",
        "account_name": "Clawdet",
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": tax,
            "liability": {"type": "self"} if tax else None,
            "provider": "stripe" if tax else None,
            "status": "complete" if tax else None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now(),
        "currency": subscription["currency"],
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "due_date": None,
        "effective_at": None,
        "ending_balance": 0,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": subscription["metadata"],
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        **_period(subscription),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "test_clock": None,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }


def _period(subscription: Document) -> Document:
    """The vendor's invoice is for what was used before it was made: the period that ended."""
    start = subscription["items"]["data"][0]["current_period_start"]
    previous = subscription.get("_previous_period_start") or start
    return {"period_end": start, "period_start": previous}
