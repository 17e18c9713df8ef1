"""Where somebody goes next: the one page that they have not been through."""

from datetime import datetime

from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts import terms
from webapp.accounts.models import User
from webapp.billing import service as billing
from webapp.instances import service as instances

DETAILS, PAY = "/signup/details", "/signup/pay"
PROVISIONING, DASHBOARD = "/provisioning", "/dashboard"
FLEET = "/fleet"


def next_path(session: Session, user: User, at: datetime | None = None) -> str:
    """The page after sign-in, and after every step of the sign-up; `at`: now, unless told."""
    instance = instances.of_user(session, user.id)
    if user.is_operator and instance is None:
        return FLEET
    if not has_details(user):
        return DETAILS
    if instance is None:
        return PROVISIONING if billing.is_paid(session, user, at or clock.now()) else PAY
    return DASHBOARD if instance.live_at else PROVISIONING


def has_details(user: User) -> bool:
    """Whether we can write to them, and they accepted the terms that are in force."""
    return bool(user.email) and terms.has_accepted(user)
