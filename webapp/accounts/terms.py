"""The terms that are in force, and whether somebody has accepted them."""

from webapp.accounts.models import User

TERMS_VERSION = "2026-11-01"
"""The date of templates/pages/terms.html. A newer one asks everybody again."""


def has_accepted(user: User) -> bool:
    """Whether they accepted the terms that are in force."""
    return user.terms_version == TERMS_VERSION and user.terms_accepted_at is not None
