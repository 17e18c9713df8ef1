"""Payment intents and charges: what paying an amount with a card comes to."""

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import cards
from sandbox.clouds.stripe.cards import Decline
from sandbox.clouds.stripe.forms import Asked, Listing, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes


class PaymentListing(Listing):
    """Filters of both lists."""

    customer: str | None = None


class ChargeListing(PaymentListing):
    """Filters of the list of charges."""

    payment_intent: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Retrieve and list payment intents and charges."""

    def intents() -> Document:
        asked = read(PaymentListing)
        return page(
            ledger.all(
                "payment_intent", **asked.model_dump(include={"customer"}, exclude_none=True)
            ),
            asked,
        )

    def charges() -> Document:
        asked = read(ChargeListing)
        wanted = asked.model_dump(include={"customer", "payment_intent"}, exclude_none=True)
        return page(ledger.all("charge", **wanted), asked)

    def intent(id_: str) -> Document:
        read(Asked)
        return ledger.get("payment_intent", id_)

    def charge(id_: str) -> Document:
        read(Asked)
        return ledger.get("charge", id_)

    routes.add("GET", "/v1/payment_intents", intents)
    routes.add("GET", "/v1/payment_intents/<id_>", intent)
    routes.add("GET", "/v1/charges", charges)
    routes.add("GET", "/v1/charges/<id_>", charge)


def intend(
    ledger: Ledger, amount_cents: int, currency: str, customer: str | None, description: str | None
) -> Document:
    """A new payment intent that nothing has been tried for."""
    id_ = new_id("pi")
    intent = {
        "id": id_,
        "object": "payment_intent",
        "amount": amount_cents,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{id_}_{new_id('secret')}",
        "confirmation_method": "automatic",
        "created": now(),
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "description": description,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": "off_session",
        "shipping": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
    return ledger.add(intent)


def confirm(
    ledger: Ledger,
    intent: Document,
    method: Document,
    *,
    present: bool,
    refusal: Decline | None = None,
) -> Decline | None:
    """Try to pay an intent with a card: None when it is paid, else why it is not.

    `present`: the customer is there and pays with this card for the first time. `refusal` decides
    instead of the card's bank.
    """
    why = refusal or cards.decline(method["_number"], present=present)
    charge = _charge(intent, method, why)
    if why is None:
        ledger.add(charge, "charge.succeeded")
        ledger.change(
            intent,
            "payment_intent.succeeded",
            amount_received=intent["amount"],
            last_payment_error=None,
            latest_charge=charge["id"],
            payment_method=method["id"],
            status="succeeded",
        )
        return None
    ledger.add(charge, "charge.failed")
    ledger.change(
        intent,
        "payment_intent.payment_failed",
        last_payment_error=_error(charge, method, why),
        latest_charge=charge["id"],
        payment_method=None,
        status="requires_payment_method",
    )
    return why


def _error(charge: Document, method: Document, why: Decline) -> Document:
    shown = {key: value for key, value in method.items() if not key.startswith("_")}
    return {
        "charge": charge["id"],
        "code": why.code,
        "decline_code": why.decline_code,
        "doc_url": f"https://stripe.com/docs/error-codes/{why.code.replace('_', '-')}",
        "message": why.message,
        "payment_method": shown,
        "type": "card_error",
    }


def _charge(intent: Document, method: Document, why: Decline | None) -> Document:
    paid = why is None
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if paid else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": new_id("txn") if paid else None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "CLAWDET",
        "captured": paid,
        "created": now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": why.code if why else None,
        "failure_message": why.message if why else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": _outcome(why),
        "paid": paid,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": method["card"], "type": "card"},
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded" if paid else "failed",
        "transfer_data": None,
        "transfer_group": None,
    }


def _outcome(why: Decline | None) -> Document:
    return {
        "network_status": "declined_by_network" if why else "approved_by_network",
        "reason": why.decline_code if why else None,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": (
            "The bank did not return any further details with this decline."
            if why
            else "Payment complete."
        ),
        "type": "issuer_declined" if why else "authorized",
    }
