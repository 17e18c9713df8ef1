"""The account that the key belongs to."""

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.forms import Asked, read
from sandbox.clouds.stripe.ledger import Ledger
from sandbox.clouds.stripe.routes import Routes

ACCOUNT: Document = {
    "id": "acct_clawdetsandbox",
    "object": "account",
    "business_profile": {"name": "Clawdet", "support_email": None, "url": None},
    "business_type": "company",
    "capabilities": {"card_payments": "active", "transfers": "active"},
    "charges_enabled": True,
    "country": "DE",
    "default_currency": "eur",
    "details_submitted": True,
    "email": None,
    "metadata": {},
    "payouts_enabled": True,
    "settings": {"dashboard": {"display_name": "Clawdet (sandbox)", "timezone": "Etc/UTC"}},
    "type": "standard",
}


def register(routes: Routes, ledger: Ledger) -> None:
    """Retrieve."""
    del ledger

    def retrieve() -> Document:
        read(Asked)
        return dict(ACCOUNT)

    routes.add("GET", "/v1/account", retrieve)
