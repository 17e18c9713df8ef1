"""Letters to the owner of an instance, about it."""

from sqlalchemy.orm import Session

from webapp.accounts.models import User
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
