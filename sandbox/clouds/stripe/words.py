"""Amounts and periods as people read them."""

import datetime

from sandbox.clouds.store import Document

SIGNS = {"eur": "€", "usd": "$", "gbp": "£"}


def money(cents: int, currency: str) -> str:
    """1900 of eur as "€19.00"."""
    amount = f"{abs(cents) / 100:,.2f}"
    sign = SIGNS.get(currency)
    text = f"{sign}{amount}" if sign else f"{amount} {currency.upper()}"
    return f"−{text}" if cents < 0 else text  # noqa: RUF001


def every(recurring: Document | None) -> str:
    """ "per month", "every 3 months", or "once"."""
    if recurring is None:
        return "once"
    count, interval = recurring["interval_count"], recurring["interval"]
    return f"per {interval}" if count == 1 else f"every {count} {interval}s"


def day(moment: int) -> str:
    """Unix seconds as "2 March 2026" (UTC)."""
    then = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return f"{then.day} {then:%B %Y}"
