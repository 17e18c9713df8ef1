"""Invoices, as the API knows them, and their two public pages."""

from typing import Literal

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import invoicing, lifecycle, payment_methods
from sandbox.clouds.stripe.card_form import CardForm
from sandbox.clouds.stripe.cards import Decline
from sandbox.clouds.stripe.errors import CardError, invalid
from sandbox.clouds.stripe.forms import Asked, Listing, Metadata, merged, read
from sandbox.clouds.stripe.ledger import Ledger, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.pdf import pdf
from sandbox.clouds.stripe.routes import Routes
from sandbox.clouds.stripe.words import money


class Payment(Asked):
    """POST /v1/invoices/:id/pay"""

    off_session: bool = True
    paid_out_of_band: bool = False
    payment_method: str | None = None


class InvoiceChange(Asked):
    """POST /v1/invoices/:id"""

    auto_advance: bool | None = None
    metadata: Metadata = {}


class InvoiceListing(Listing):
    """Filters of the list."""

    customer: str | None = None
    status: Literal["draft", "open", "paid", "uncollectible", "void"] | None = None
    subscription: str | None = None


class PaymentListing(Listing):
    """Filters of the list of invoice payments."""

    invoice: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Retrieve, update, pay, void, list; list the payments."""

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("invoice", id_)

    def update(id_: str) -> Document:
        asked, invoice = read(InvoiceChange), ledger.get("invoice", id_)
        changes = asked.model_dump(include=asked.model_fields_set, exclude={"expand"})
        if "metadata" in changes:
            changes["metadata"] = merged(invoice["metadata"], asked.metadata)
        return ledger.change(invoice, "invoice.updated", **changes)

    def pay(id_: str) -> Document:
        return _pay(ledger, ledger.get("invoice", id_), read(Payment))

    def void(id_: str) -> Document:
        read(Asked)
        return _void(ledger, ledger.get("invoice", id_))

    def listed() -> Document:
        asked = read(InvoiceListing)
        wanted = asked.model_dump(include={"customer", "status"}, exclude_none=True)
        found = ledger.all("invoice", **wanted)
        return page([one for one in found if asked.subscription in (None, _owner(one))], asked)

    def payments() -> Document:
        asked = read(PaymentListing)
        wanted = asked.model_dump(include={"invoice"}, exclude_none=True)
        return page(ledger.all("invoice_payment", **wanted), asked)

    routes.add("GET", "/v1/invoices", listed)
    routes.add("GET", "/v1/invoices/<id_>", retrieve)
    routes.add("POST", "/v1/invoices/<id_>", update)
    routes.add("POST", "/v1/invoices/<id_>/pay", pay)
    routes.add("POST", "/v1/invoices/<id_>/void", void)
    routes.add("GET", "/v1/invoice_payments", payments)


def register_pages(blueprint: Blueprint, ledger: Ledger) -> None:
    """What hosted_invoice_url and invoice_pdf lead to; an open invoice can be paid there."""

    @blueprint.get("/invoice/<id_>")
    def invoice_page(id_: str) -> ResponseReturnValue:
        return _page(_known(ledger, id_), CardForm())

    @blueprint.post("/invoice/<id_>")
    def invoice_pay(id_: str) -> ResponseReturnValue:
        with ledger.transaction():
            return _pay_by_hand(ledger, _known(ledger, id_))

    @blueprint.get("/invoice/<id_>/pdf")
    def invoice_pdf(id_: str) -> ResponseReturnValue:
        invoice = _known(ledger, id_)
        name = f'attachment; filename="Invoice-{invoice["number"]}.pdf"'
        headers = {"Content-Disposition": name}
        return Response(pdf(_told(invoice)), mimetype="application/pdf", headers=headers)


def _owner(invoice: Document) -> str:
    subscription: str = invoice["parent"]["subscription_details"]["subscription"]
    return subscription


def _pay(ledger: Ledger, invoice: Document, asked: Payment) -> Document:
    _check_open(invoice, "pay")
    subscription = ledger.get("subscription", _owner(invoice))
    if asked.paid_out_of_band:
        invoicing.mark_paid(ledger, invoice)
        lifecycle.settle(ledger, subscription)
        return invoice
    method = payment_methods.for_subscription(ledger, subscription)
    if asked.payment_method:
        method = ledger.get("payment_method", asked.payment_method, "payment_method")
    if method is None:
        raise invalid(invoicing.NO_CARD.message, None, invoicing.NO_CARD.code)
    why = invoicing.collect(ledger, invoice, method)
    lifecycle.settle(ledger, subscription)
    if why is not None:
        raise _refused(ledger, invoice, why)
    return invoice


def _refused(ledger: Ledger, invoice: Document, why: Decline) -> CardError:
    payment = ledger.all("invoice_payment", invoice=invoice["id"])[0]["payment"]
    intent = ledger.get("payment_intent", payment["payment_intent"])
    return CardError(
        why.message, code=why.code, decline_code=why.decline_code, charge=intent["latest_charge"]
    )


def _void(ledger: Ledger, invoice: Document) -> Document:
    _check_open(invoice, "void")
    transitions = {**invoice["status_transitions"], "voided_at": now()}
    changes = {"auto_advance": False, "next_payment_attempt": None}
    ledger.change(invoice, None, status="void", status_transitions=transitions, **changes)
    ledger.tell("invoice.voided", invoice)
    lifecycle.settle(ledger, ledger.get("subscription", _owner(invoice)))
    return invoice


def _check_open(invoice: Document, act: str) -> None:
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid", None, "invoice_already_paid")
    if invoice["status"] != "open":
        raise invalid(
            f"This invoice can no longer be {act}ed: its status is {invoice['status']}.",
            None,
            "invoice_not_editable",
        )


def _known(ledger: Ledger, id_: str) -> Document:
    invoice = ledger.find("invoice", id_)
    if invoice is None:
        abort(404)
    return invoice


def _pay_by_hand(ledger: Ledger, invoice: Document) -> ResponseReturnValue:
    here = url_for("stripe.invoice_page", id_=invoice["id"])
    if invoice["status"] != "open":
        return redirect(here, 303)
    form = CardForm(request.form)
    if not form.check():
        return _page(invoice, form), 400
    billing = {"email": invoice["customer_email"], "name": invoice["customer_name"]}
    method = payment_methods.make(form.number, form.expiry, billing)
    subscription = ledger.get("subscription", _owner(invoice))
    why = invoicing.collect(ledger, invoice, method, present=True)
    if why is not None:
        form.refuse(why)
        return _page(invoice, form), 402
    customer = ledger.get("customer", invoice["customer"])
    payment_methods.replace(ledger, customer, method)
    lifecycle.settle(ledger, subscription)
    return redirect(here, 303)


def _page(invoice: Document, form: CardForm) -> str:
    return render_template(
        "stripe/invoice.html", invoice=invoice, typed=form.typed, mistakes=form.mistakes
    )


def _told(invoice: Document) -> list[str]:
    currency = invoice["currency"]
    lines = [
        f"{line['description']}: {money(line['amount'], currency)}"
        for line in invoice["lines"]["data"]
    ]
    taken = invoice["subtotal"] - invoice["total"]
    return [
        f"Invoice {invoice['number']}",
        f"{invoice['account_name']} to {invoice['customer_email']}",
        *lines,
        *([f"Discount: {money(-taken, currency)}"] if taken else []),
        f"Total: {money(invoice['total'], currency)}",
        f"Status: {invoice['status']}",
        "Made by the sandbox's pretend Stripe.",
    ]
