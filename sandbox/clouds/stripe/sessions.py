"""Checkout sessions, as the API knows them."""

from typing import Annotated, Any, Literal

from flask import url_for
from pydantic import Field

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import discounts
from sandbox.clouds.stripe.customers import check_email
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import (
    Asked,
    Entries,
    Form,
    Listing,
    Metadata,
    check_url,
    merged,
    read,
)
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.listing import page, whole
from sandbox.clouds.stripe.routes import Routes

KIND = "checkout.session"
DAY_S = 86_400
SHORTEST_S, LONGEST_S = 30 * 60, DAY_S
SLACK_S = 60
"""The caller's clock and ours may differ by as much."""
ID_LENGTH = 58


class LineItem(Form):
    """One position of the order."""

    price: str
    quantity: Annotated[int, Field(ge=1)] = 1


class Switch(Form):
    """Something that is on or off; its details don't matter here."""

    enabled: bool
    liability: dict[str, str] | None = None
    required: str | None = None


class SubscriptionData(Form):
    """What the subscription will carry."""

    billing_mode: dict[str, Any] | None = None
    description: str | None = None
    metadata: Metadata = {}


class Chosen(Form):
    """A discount that the seller gives."""

    coupon: str | None = None
    promotion_code: str | None = None


class NewSession(Asked):
    """POST /v1/checkout/sessions"""

    mode: Literal["payment", "setup", "subscription"]
    line_items: Entries[LineItem] = []
    allow_promotion_codes: bool | None = None
    automatic_tax: Switch = Switch(enabled=False)
    billing_address_collection: Literal["auto", "required"] | None = None
    cancel_url: str | None = None
    client_reference_id: Annotated[str, Field(max_length=200)] | None = None
    consent_collection: dict[str, str] | None = None
    custom_text: dict[str, Any] | None = None
    customer: str | None = None
    customer_creation: Literal["always", "if_required"] | None = None
    customer_email: str | None = None
    customer_update: dict[str, str] | None = None
    discounts: Entries[Chosen] = []
    expires_at: int | None = None
    locale: str | None = None
    metadata: Metadata = {}
    payment_method_collection: Literal["always", "if_required"] = "always"
    payment_method_types: Entries[str] = ["card"]
    phone_number_collection: Switch = Switch(enabled=False)
    saved_payment_method_options: dict[str, Any] | None = None
    subscription_data: SubscriptionData = SubscriptionData()
    success_url: str | None = None
    tax_id_collection: Switch = Switch(enabled=False)
    ui_mode: Literal["hosted_page", "embedded_page", "elements", "form"] = "hosted_page"


class SessionChange(Asked):
    """POST /v1/checkout/sessions/:id"""

    metadata: Metadata = {}


class SessionListing(Listing):
    """Filters of the list."""

    customer: str | None = None
    payment_intent: str | None = None
    status: Literal["open", "complete", "expired"] | None = None
    subscription: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Create, retrieve, update, list, expire; list the line items."""

    def create() -> Document:
        asked = read(NewSession)
        _check(ledger, asked)
        return ledger.keep(_new(ledger, asked))

    def retrieve(id_: str) -> Document:
        read(Asked)
        expire_due(ledger)
        return ledger.get(KIND, id_)

    def update(id_: str) -> Document:
        asked, session = read(SessionChange), ledger.get(KIND, id_)
        if "metadata" not in asked.model_fields_set:
            return session
        return ledger.change(session, None, metadata=merged(session["metadata"], asked.metadata))

    def listed() -> Document:
        asked = read(SessionListing)
        expire_due(ledger)
        names = {"customer", "payment_intent", "status", "subscription"}
        wanted = asked.model_dump(include=names, exclude_none=True)
        return page(ledger.all(KIND, **wanted), asked)

    def expire_now(id_: str) -> Document:
        read(Asked)
        session = ledger.get(KIND, id_)
        if session["status"] != "open":
            raise invalid(
                'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
                f"Session has a status of {session['status']}."
            )
        return expire(ledger, session)

    def line_items(id_: str) -> Document:
        read(Listing)
        return whole(ledger.get(KIND, id_)["_line_items"])

    routes.add("POST", "/v1/checkout/sessions", create)
    routes.add("GET", "/v1/checkout/sessions", listed)
    routes.add("GET", "/v1/checkout/sessions/<id_>", retrieve)
    routes.add("POST", "/v1/checkout/sessions/<id_>", update)
    routes.add("POST", "/v1/checkout/sessions/<id_>/expire", expire_now)
    routes.add("GET", "/v1/checkout/sessions/<id_>/line_items", line_items)


def expire(ledger: Ledger, session: Document) -> Document:
    """End an open session unpaid."""
    ledger.change(session, None, status="expired", url=None)
    ledger.tell("checkout.session.expired", session)
    return session


def expire_due(ledger: Ledger) -> None:
    """End the open sessions whose time is over."""
    with ledger.transaction():
        for session in ledger.all(KIND, status="open"):
            if session["expires_at"] <= now():
                expire(ledger, session)


def discount_by(ledger: Ledger, session: Document, chosen: list[Document]) -> None:
    """Give a session these discounts ({coupon, promotion_code}) and no others."""
    coupons = [ledger.get("coupon", one["coupon"]) for one in chosen]
    subtotal = session["amount_subtotal"]
    taken = discounts.total_taken_off(coupons, subtotal)
    ledger.change(
        session,
        None,
        amount_total=subtotal - taken,
        discounts=chosen,
        total_details={"amount_discount": taken, "amount_shipping": 0, "amount_tax": 0},
    )


def _check(ledger: Ledger, asked: NewSession) -> None:
    if asked.mode != "subscription":
        raise invalid("The sandbox sells subscriptions only: mode must be subscription.", "mode")
    if asked.ui_mode != "hosted_page":
        raise invalid("The sandbox has the hosted page only: leave ui_mode away.", "ui_mode")
    if not asked.line_items:
        raise invalid("Missing required param: line_items.", "line_items", "parameter_missing")
    if not asked.success_url:
        raise invalid("Missing required param: success_url.", "success_url", "parameter_missing")
    check_url(asked.success_url, "success_url")
    if asked.cancel_url:
        check_url(asked.cancel_url, "cancel_url")
    if asked.customer and asked.customer_email:
        raise _either("customer", "customer_email")
    if asked.discounts and asked.allow_promotion_codes is not None:
        raise _either("allow_promotion_codes", "discounts")
    if asked.customer:
        _check_customer(ledger.get("customer", asked.customer, "customer"), asked)
    if asked.customer_email:
        check_email(asked.customer_email, "customer_email")
    _check_expiry(asked.expires_at)


def _check_customer(customer: Document, asked: NewSession) -> None:
    """What Checkout finds out about a customer who exists, it must be allowed to write down."""
    allowed = asked.customer_update or {}
    if asked.automatic_tax.enabled and not customer["address"] and allowed.get("address") != "auto":
        raise invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add "
            "a valid address to the Customer or set `customer_update[address]` to 'auto'."
        )
    if asked.tax_id_collection.enabled and allowed.get("name") != "auto":
        raise invalid(
            "Tax ID collection requires updating business name on the customer. To enable tax ID "
            "collection for an existing customer, please set `customer_update[name]` to `auto`."
        )


def _either(one: str, other: str) -> Exception:
    return invalid(f"You may only specify one of these parameters: {one}, {other}.", one)


def _check_expiry(expires_at: int | None) -> None:
    if expires_at is None:
        return
    left = expires_at - now()
    param = "expires_at"
    if left < SHORTEST_S - SLACK_S:
        raise invalid(
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session "
            "creation.",
            param,
        )
    if left > LONGEST_S + SLACK_S:
        raise invalid(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.",
            param,
        )


def _line_item(ledger: Ledger, place: int, asked: LineItem) -> Document:
    param = f"line_items[{place}][price]"
    price = ledger.get("price", asked.price, param)
    if not price["active"]:
        raise invalid(f"The price specified is inactive: {price['id']}.", param)
    if price["type"] != "recurring":
        raise invalid("The sandbox's line items must have recurring prices.", param)
    amount = price["unit_amount"] * asked.quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": ledger.get("product", price["product"])["name"],
        "metadata": {},
        "price": price,
        "quantity": asked.quantity,
    }


def _chosen(ledger: Ledger, place: int, asked: Chosen) -> Document:
    if asked.promotion_code:
        param = f"discounts[{place}][promotion_code]"
        promotion = ledger.get("promotion_code", asked.promotion_code, param)
        return {"coupon": promotion["promotion"]["coupon"], "promotion_code": promotion["id"]}
    param = f"discounts[{place}][coupon]"
    return {"coupon": ledger.get("coupon", asked.coupon or "", param)["id"], "promotion_code": None}


def _new(ledger: Ledger, asked: NewSession) -> Document:
    items = [_line_item(ledger, place, item) for place, item in enumerate(asked.line_items)]
    session = _blank(asked) | {
        "amount_subtotal": sum(item["amount_subtotal"] for item in items),
        "currency": items[0]["currency"],
        "_customer_update": asked.customer_update or {},
        "_line_items": items,
        "_subscription": {
            "description": asked.subscription_data.description,
            "metadata": merged({}, asked.subscription_data.metadata),
        },
    }
    chosen = [_chosen(ledger, place, one) for place, one in enumerate(asked.discounts)]
    discount_by(ledger, session, chosen)
    return session


def _blank(asked: NewSession) -> Document:
    id_, moment = new_id("cs_test", ID_LENGTH), now()
    tax = asked.automatic_tax.enabled
    return {
        "id": id_,
        "object": KIND,
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": asked.allow_promotion_codes,
        "automatic_tax": {
            "enabled": tax,
            "liability": {"type": "self"} if tax else None,
            "provider": "stripe" if tax else None,
            "status": "complete" if tax else None,
        },
        "billing_address_collection": asked.billing_address_collection,
        "cancel_url": asked.cancel_url,
        "client_reference_id": asked.client_reference_id,
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": asked.consent_collection,
        "created": moment,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
            **(asked.custom_text or {}),
        },
        "customer": asked.customer,
        "customer_account": None,
        "customer_creation": None if asked.customer else "always",
        "customer_details": None,
        "customer_email": asked.customer_email,
        "expires_at": asked.expires_at or moment + LONGEST_S,
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "locale": asked.locale,
        "metadata": merged({}, asked.metadata),
        "mode": asked.mode,
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": asked.payment_method_collection,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": asked.payment_method_types,
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": asked.phone_number_collection.enabled},
        "recovered_from": None,
        "saved_payment_method_options": {"allow_redisplay_filters": ["always"]},
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": asked.success_url,
        "tax_id_collection": {"enabled": asked.tax_id_collection.enabled, "required": "never"},
        "ui_mode": asked.ui_mode,
        "url": url_for("stripe.checkout_page", id_=id_, _external=True),
        "wallet_options": None,
    }
