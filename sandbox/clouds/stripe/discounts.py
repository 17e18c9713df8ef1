"""What a discount takes off, and whether a promotion code may be used."""

from collections.abc import Iterable

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import periods
from sandbox.clouds.stripe.ledger import Ledger, new_id, now

INVALID = "This code is invalid."


class Unusable(ValueError):
    """A code that cannot be redeemed, with the words for the customer."""


def taken_off(coupon: Document, subtotal_cents: int) -> int:
    """The cents that a coupon takes off an amount."""
    if coupon["percent_off"] is not None:
        return int(subtotal_cents * coupon["percent_off"] / 100 + 0.5)
    return min(subtotal_cents, int(coupon["amount_off"]))


def total_taken_off(coupons: Iterable[Document], subtotal_cents: int) -> int:
    """The cents that coupons take off one after the other."""
    left = subtotal_cents
    for coupon in coupons:
        left -= taken_off(coupon, left)
    return subtotal_cents - left


def find_code(ledger: Ledger, code: str) -> Document:
    """The active promotion code of these letters, in either case; Unusable when there is none."""
    for promotion in ledger.all("promotion_code", active=True):
        if promotion["code"].lower() == code.lower():
            return promotion
    raise Unusable(INVALID)


def check(
    ledger: Ledger, promotion: Document, customer: str | None, subtotal_cents: int
) -> Document:
    """The coupon of an active promotion code; Unusable when it is over or not for this order."""
    coupon = ledger.find("coupon", promotion["promotion"]["coupon"])
    over = promotion["expires_at"] is not None and promotion["expires_at"] <= now()
    if coupon is None or coupon.get("deleted") or over or _used_up(promotion) or spent(coupon):
        raise Unusable(INVALID)
    if promotion["customer"] not in (None, customer):
        raise Unusable(INVALID)
    restrictions = promotion["restrictions"]
    if (restrictions["minimum_amount"] or 0) > subtotal_cents:
        raise Unusable("Your order does not reach the least amount for this code.")
    if (
        restrictions["first_time_transaction"]
        and customer
        and ledger.all("charge", customer=customer, paid=True)
    ):
        raise Unusable("This code is for new customers only.")
    return coupon


def spent(coupon: Document) -> bool:
    """Whether a coupon can be redeemed no longer."""
    late = coupon["redeem_by"] is not None and coupon["redeem_by"] <= now()
    return late or _used_up(coupon)


def redeem(ledger: Ledger, chosen: Document, subscription: Document) -> Document:
    """Apply {coupon, promotion_code} to a subscription: the discount, and one use less."""
    coupon = ledger.get("coupon", chosen["coupon"])
    uses = coupon["times_redeemed"] + 1
    ledger.change(coupon, None, times_redeemed=uses)
    ledger.change(coupon, None, valid=not spent(coupon))
    if chosen["promotion_code"]:
        promotion = ledger.get("promotion_code", chosen["promotion_code"])
        ledger.change(promotion, None, times_redeemed=promotion["times_redeemed"] + 1)
    start = subscription["start_date"]
    months = coupon["duration_in_months"]
    discount = {
        "id": new_id("di"),
        "object": "discount",
        "checkout_session": None,
        "customer": subscription["customer"],
        "customer_account": None,
        "end": periods.plus(start, "month", months) if months else None,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": chosen["promotion_code"],
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": start,
        "subscription": subscription["id"],
        "subscription_item": None,
    }
    return ledger.add(discount, "customer.discount.created")


def _used_up(document: Document) -> bool:
    limit = document["max_redemptions"]
    return limit is not None and document["times_redeemed"] >= limit
