"""Amounts and days as people read them, for texts that no template writes."""

from datetime import datetime

SIGNS = {"eur": "€", "gbp": "£", "usd": "US$"}
WITHOUT_CENTS = frozenset({"jpy", "krw", "vnd", "clp"})


def day(moment: datetime) -> str:
    """8 November 2026"""
    return f"{moment.day} {moment:%B} {moment.year}"


def money(amount_cents: int, currency: str) -> str:
    """€29.00; the currency by its code where it has no sign of its own."""
    code = currency.lower()
    amount = str(amount_cents) if code in WITHOUT_CENTS else f"{amount_cents / 100:,.2f}"
    return f"{SIGNS[code]}{amount}" if code in SIGNS else f"{amount} {code.upper()}"
