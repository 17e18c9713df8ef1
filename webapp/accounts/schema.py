"""What the API says of a user."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts import terms
from webapp.accounts.models import PaymentMethod, User
from webapp.billing import service as billing
from webapp.instances import service as instances
from webapp.instances.states import Status
from webapp.settings import WebSettings


class Me(BaseModel):
    """The signed-in user. `createdAt` and `updatedAt` are milliseconds since 1970, UTC."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    id: str
    x_id: str
    x_username: str
    x_name: str
    x_profile_image: str | None = None
    email: str | None = None
    terms_accepted: bool
    paid: bool
    paid_at: datetime | None = None
    payment_method: PaymentMethod | None = None
    provisioning_status: Status | None = None
    instance_url: str | None = None
    hetzner_vps_id: str | None = None
    hetzner_vps_ip: str | None = None
    created_at: int
    updated_at: int


def me(session: Session, user: User, settings: WebSettings) -> Me:
    """The user, with what there is of their instance."""
    instance = instances.of_user(session, user.id)
    return Me(
        id=user.id,
        x_id=user.x_id or "",
        x_username=user.x_username,
        x_name=user.x_name,
        x_profile_image=user.x_profile_image,
        email=user.email,
        terms_accepted=terms.has_accepted(user),
        paid=billing.is_paid(session, user, clock.now()),
        paid_at=user.paid_at,
        payment_method=user.payment_method,
        provisioning_status=instance.status if instance else None,
        instance_url=settings.instance_url(instance.slug) if instance else None,
        hetzner_vps_id=(instance.server_id or None) if instance else None,
        hetzner_vps_ip=(instance.ipv4 or None) if instance else None,
        created_at=_milliseconds(user.created_at),
        updated_at=_milliseconds(user.updated_at),
    )


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
