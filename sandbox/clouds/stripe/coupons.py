"""Coupons and the promotion codes for them. WELCOME50 is there: half of the first invoice."""

from typing import Annotated, Literal

from pydantic import Field

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import discounts
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Form, Listing, Metadata, merged, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes

WELCOME = "WELCOME50"
PROMOTION_ID = "promo_welcome50"


class NewCoupon(Asked):
    """POST /v1/coupons"""

    id: str | None = None
    amount_off: Annotated[int, Field(ge=1)] | None = None
    currency: str | None = None
    duration: Literal["forever", "once", "repeating"] = "once"
    duration_in_months: Annotated[int, Field(ge=1)] | None = None
    max_redemptions: Annotated[int, Field(ge=1)] | None = None
    metadata: Metadata = {}
    name: str | None = None
    percent_off: Annotated[float, Field(gt=0, le=100)] | None = None
    redeem_by: int | None = None


class Promotion(Form):
    """What a promotion code is for."""

    type: Literal["coupon"]
    coupon: str


class Restrictions(Form):
    """Who may use a promotion code."""

    first_time_transaction: bool = False
    minimum_amount: int | None = None
    minimum_amount_currency: str | None = None


class NewPromotionCode(Asked):
    """POST /v1/promotion_codes"""

    promotion: Promotion
    active: bool = True
    code: Annotated[str, Field(pattern="^[a-zA-Z0-9-]{1,500}$")] | None = None
    customer: str | None = None
    expires_at: int | None = None
    max_redemptions: Annotated[int, Field(ge=1)] | None = None
    metadata: Metadata = {}
    restrictions: Restrictions = Restrictions()


class PromotionCodeChange(Asked):
    """POST /v1/promotion_codes/:id"""

    active: bool | None = None
    metadata: Metadata = {}


class PromotionCodeListing(Listing):
    """Filters of the list of promotion codes."""

    active: bool | None = None
    code: str | None = None
    coupon: str | None = None
    customer: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Create, retrieve, list; delete coupons; switch promotion codes off."""
    _coupons(routes, ledger)
    _promotion_codes(routes, ledger)


def seed(ledger: Ledger) -> None:
    """Make what the account has from the beginning."""
    if ledger.find("coupon", WELCOME) is None:
        name = "50 % off your first month"
        ledger.keep(_coupon(NewCoupon(id=WELCOME, name=name, percent_off=50)))
        asked = NewPromotionCode(promotion=Promotion(type="coupon", coupon=WELCOME), code=WELCOME)
        ledger.keep(_promotion_code(asked) | {"id": PROMOTION_ID})


def _coupons(routes: Routes, ledger: Ledger) -> None:
    def create() -> Document:
        asked = read(NewCoupon)
        if (asked.percent_off is None) == (asked.amount_off is None):
            raise invalid("You must pass either percent_off or amount_off.", "percent_off")
        if asked.amount_off and not asked.currency:
            raise invalid("You must pass currency when passing amount_off", "currency")
        if (asked.duration == "repeating") != (asked.duration_in_months is not None):
            raise invalid(
                "duration_in_months belongs to the duration repeating.", "duration_in_months"
            )
        if asked.id and ledger.find("coupon", asked.id):
            raise invalid("Coupon already exists.", "id", "resource_already_exists")
        return ledger.add(_coupon(asked))

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("coupon", id_)

    def delete(id_: str) -> Document:
        read(Asked)
        return ledger.forget(ledger.get("coupon", id_))

    def listed() -> Document:
        asked = read(Listing)
        return page(ledger.all("coupon"), asked)

    routes.add("POST", "/v1/coupons", create)
    routes.add("GET", "/v1/coupons", listed)
    routes.add("GET", "/v1/coupons/<id_>", retrieve)
    routes.add("DELETE", "/v1/coupons/<id_>", delete)


def _promotion_codes(routes: Routes, ledger: Ledger) -> None:
    def create() -> Document:
        asked = read(NewPromotionCode)
        ledger.get("coupon", asked.promotion.coupon, "promotion[coupon]")
        made = _promotion_code(asked)
        if any(code["active"] for code in ledger.all("promotion_code", code=made["code"])):
            raise invalid("An active promotion code with this code already exists.", "code")
        return ledger.add(made)

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("promotion_code", id_)

    def update(id_: str) -> Document:
        asked, found = read(PromotionCodeChange), ledger.get("promotion_code", id_)
        changes = asked.model_dump(include=asked.model_fields_set, exclude={"expand"})
        if "metadata" in changes:
            changes["metadata"] = merged(found["metadata"], asked.metadata)
        return ledger.change(found, "promotion_code.updated", **changes)

    def listed() -> Document:
        asked = read(PromotionCodeListing)
        names = {"active", "code", "customer"}
        found = ledger.all("promotion_code", **asked.model_dump(include=names, exclude_none=True))
        return page(
            [one for one in found if asked.coupon in (None, one["promotion"]["coupon"])], asked
        )

    routes.add("POST", "/v1/promotion_codes", create)
    routes.add("GET", "/v1/promotion_codes", listed)
    routes.add("GET", "/v1/promotion_codes/<id_>", retrieve)
    routes.add("POST", "/v1/promotion_codes/<id_>", update)


def _coupon(asked: NewCoupon) -> Document:
    made = {
        "id": asked.id or new_id("coupon", 8)[7:],
        "object": "coupon",
        "amount_off": asked.amount_off,
        "created": now(),
        "currency": asked.currency,
        "duration": asked.duration,
        "duration_in_months": asked.duration_in_months,
        "livemode": False,
        "max_redemptions": asked.max_redemptions,
        "metadata": merged({}, asked.metadata),
        "name": asked.name,
        "percent_off": asked.percent_off,
        "redeem_by": asked.redeem_by,
        "times_redeemed": 0,
    }
    return made | {"valid": not discounts.spent(made)}


def _promotion_code(asked: NewPromotionCode) -> Document:
    return {
        "id": new_id("promo"),
        "object": "promotion_code",
        "active": asked.active,
        "code": asked.code or new_id("code", 8)[5:].upper(),
        "created": now(),
        "customer": asked.customer,
        "customer_account": None,
        "expires_at": asked.expires_at,
        "livemode": False,
        "max_redemptions": asked.max_redemptions,
        "metadata": merged({}, asked.metadata),
        "promotion": asked.promotion.model_dump(),
        "restrictions": asked.restrictions.model_dump(),
        "times_redeemed": 0,
    }
