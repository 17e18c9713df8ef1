"""The vendor's test cards, and what their banks say.

Numbers and codes are those of https://docs.stripe.com/testing, but for 4000000000000341: here its
first payment is let through, so that a subscription starts whose renewals fail.
"""

import datetime
from dataclasses import dataclass

NUMBER_LENGTHS = range(13, 20)


@dataclass(frozen=True)
class Decline:
    """Why a bank refuses: the error's code, its decline code, and the words for the customer."""

    code: str
    decline_code: str
    message: str


@dataclass(frozen=True)
class Card:
    """A test card. `later` is what payments without the customer come to."""

    brand: str
    first: Decline | None = None
    later: Decline | None = None
    authenticates: bool = False
    """Whether the bank wants the customer to confirm the first payment (3-D Secure)."""


class CardMistake(ValueError):
    """Something wrong with what was typed; `field` is number, expiry or cvc."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _declined(decline_code: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", decline_code, message)


GENERIC = _declined("generic_decline")
FUNDS = _declined("insufficient_funds", "Your card has insufficient funds.")
LOST = _declined("lost_card")
STOLEN = _declined("stolen_card")
LIVE = _declined(
    "test_mode_live_card",
    "Your card was declined. Your request was in test mode, but used a non test card. For a list "
    "of valid test cards, visit: https://stripe.com/docs/testing.",
)
EXPIRED = Decline("expired_card", "expired_card", "Your card has expired.")
CVC = Decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")
PROCESSING = Decline(
    "processing_error",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
)
UNAUTHENTICATED = Decline(
    "payment_intent_authentication_failure",
    "authentication_required",
    "We are unable to authenticate your payment method. Please choose a different payment method "
    "and try again.",
)

CARDS = {
    "4242424242424242": Card("visa"),
    "5555555555554444": Card("mastercard"),
    "378282246310005": Card("amex"),
    "4000000000000002": Card("visa", GENERIC, GENERIC),
    "4000000000009995": Card("visa", FUNDS, FUNDS),
    "4000000000009987": Card("visa", LOST, LOST),
    "4000000000009979": Card("visa", STOLEN, STOLEN),
    "4000000000000069": Card("visa", EXPIRED, EXPIRED),
    "4000000000000127": Card("visa", CVC, CVC),
    "4000000000000119": Card("visa", PROCESSING, PROCESSING),
    "4000002500003155": Card("visa", authenticates=True),
    "4000000000000341": Card("visa", None, GENERIC),
}


def digits(text: str) -> str:
    """A card number without its spaces and dashes."""
    return text.replace(" ", "").replace("-", "")


def check_number(text: str) -> str:
    """The digits of a number that a card can have; CardMistake when none can."""
    number = digits(text)
    if not number:
        raise CardMistake("number", "Enter your card number.")
    if not number.isdecimal() or len(number) not in NUMBER_LENGTHS or not _luhn(number):
        raise CardMistake("number", "Your card number is invalid.")
    return number


def check_expiry(text: str, today: datetime.date) -> tuple[int, int]:
    """Month and year of "MM / YY" or "MM/YYYY"; CardMistake when it is none or past."""
    month, _, year = text.replace(" ", "").partition("/")
    if not (month.isdecimal() and year.isdecimal() and len(year) in (2, 4)):
        raise CardMistake("expiry", "Enter the expiry date as MM / YY.")
    in_month, in_year = int(month), int(year) + (2000 if len(year) == 2 else 0)
    if not 1 <= in_month <= 12:
        raise CardMistake("expiry", "The month must be between 01 and 12.")
    if (in_year, in_month) < (today.year, today.month):
        raise CardMistake("expiry", "Your card's expiration date is in the past.")
    return in_month, in_year


def check_cvc(text: str, number: str) -> None:
    """CardMistake when the security code is not complete."""
    wanted = 4 if CARDS.get(number, Card("")).brand == "amex" else 3
    if not text.isdecimal() or len(text) != wanted:
        raise CardMistake("cvc", f"Enter the {wanted} digits of the security code.")


def decline(number: str, *, present: bool) -> Decline | None:
    """What the bank says; `present`: the customer is there and pays for the first time."""
    card = CARDS.get(number)
    if card is None:
        return LIVE
    return card.first if present else card.later


def _luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
