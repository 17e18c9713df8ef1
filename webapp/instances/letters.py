"""Letters about an instance: to its owner, and to those who run Clawdet."""

from datetime import timedelta

from sqlalchemy.orm import Session

from webapp.accounts.models import User
from webapp.billing.words import day
from webapp.http.context import Clawdet
from webapp.instances.models import Instance
from webapp.mail.service import post


def write(
    session: Session,
    c: Clawdet,
    instance: Instance,
    template: str,
    *,
    key: str,
    path: str,
    **context: str,
) -> None:
    """Post one, with a link to `path`; once for each template and `key`, nothing without an
    address. `context`: what else templates/emails/README.md says that it needs."""
    user = session.get_one(User, instance.user_id)
    if user.email:
        post(
            session,
            c.jobs,
            to=user.email,
            template=template,
            key=f"{template}-{key}",
            user_id=user.id,
            name=user.x_name,
            address=f"{instance.slug}.{c.settings.clawdet_domain}",
            link=c.settings.url(path),
            **context,
        )


def tell_operators(session: Session, c: Clawdet, instance: Instance) -> None:
    """Post one to the support address: it is paid for and not live. Once for each instance."""
    user = session.get_one(User, instance.user_id)
    refund = {}
    if user.payment_method == "stripe" and user.paid_at:
        at = user.paid_at + timedelta(seconds=c.settings.clawdet_refund_deadline_s)
        refund["date"] = day(at)
    waits = instance.status == "failed" and instance.retry_at is None
    post(
        session,
        c.jobs,
        to=c.settings.clawdet_support_email,
        template="late",
        key=f"late-{instance.id}",
        address=f"{instance.slug}.{c.settings.clawdet_domain}",
        link=c.settings.url(f"/fleet/{instance.slug}"),
        failure=instance.failure,
        waits="yes" if waits else "",
        **refund,
    )
