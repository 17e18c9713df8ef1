"""Refunds."""

from typing import Annotated, Literal

from pydantic import Field

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Listing, Metadata, merged, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes
from sandbox.clouds.stripe.words import money


class NewRefund(Asked):
    """POST /v1/refunds"""

    amount: Annotated[int, Field(ge=1)] | None = None
    charge: str | None = None
    metadata: Metadata = {}
    payment_intent: str | None = None
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None


class RefundChange(Asked):
    """POST /v1/refunds/:id"""

    metadata: Metadata = {}


class RefundListing(Listing):
    """Filters of the list."""

    charge: str | None = None
    payment_intent: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Create, retrieve, update, list."""

    def create() -> Document:
        asked = read(NewRefund)
        return _refund(ledger, _charge(ledger, asked), asked)

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("refund", id_)

    def update(id_: str) -> Document:
        asked, refund = read(RefundChange), ledger.get("refund", id_)
        kept = merged(refund["metadata"], asked.metadata)
        return ledger.change(refund, "refund.updated", metadata=kept)

    def listed() -> Document:
        asked = read(RefundListing)
        wanted = asked.model_dump(include={"charge", "payment_intent"}, exclude_none=True)
        return page(ledger.all("refund", **wanted), asked)

    routes.add("POST", "/v1/refunds", create)
    routes.add("GET", "/v1/refunds", listed)
    routes.add("GET", "/v1/refunds/<id_>", retrieve)
    routes.add("POST", "/v1/refunds/<id_>", update)


def _charge(ledger: Ledger, asked: NewRefund) -> Document:
    if asked.charge:
        return ledger.get("charge", asked.charge, "charge")
    if not asked.payment_intent:
        raise invalid(
            "One of the following params should be provided for this request: payment_intent or "
            "charge.",
            None,
            "parameter_missing",
        )
    intent = ledger.get("payment_intent", asked.payment_intent, "payment_intent")
    if intent["status"] != "succeeded":
        raise invalid(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            "payment_intent",
        )
    return ledger.get("charge", intent["latest_charge"])


def _refund(ledger: Ledger, charge: Document, asked: NewRefund) -> Document:
    left = charge["amount_captured"] - charge["amount_refunded"]
    if charge["refunded"]:
        raise invalid(
            f"Charge {charge['id']} has already been refunded.", None, "charge_already_refunded"
        )
    amount = asked.amount or left
    if amount > left:
        currency = charge["currency"]
        raise invalid(
            f"Refund amount ({money(amount, currency)}) is greater than unrefunded amount on "
            f"charge ({money(left, currency)})",
            "amount",
        )
    refund = ledger.add(_new(charge, amount, asked))
    refunded = charge["amount_refunded"] + amount
    full = refunded == charge["amount_captured"]
    ledger.change(charge, "charge.refunded", amount_refunded=refunded, refunded=full)
    return refund


def _new(charge: Document, amount: int, asked: NewRefund) -> Document:
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": new_id("txn"),
        "charge": charge["id"],
        "created": now(),
        "currency": charge["currency"],
        "destination_details": {
            "card": {
                "reference": "4242424242424242",
                "reference_status": "available",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": merged({}, asked.metadata),
        "payment_intent": charge["payment_intent"],
        "reason": asked.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
