"""Letters: kept and enqueued in one transaction, so that each is sent, and none is sent twice."""

import json

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.errors import Invalid
from webapp.jobs import Jobs
from webapp.mail.models import Letter


def post(
    session: Session,
    jobs: Jobs,
    *,
    to: str,
    template: str,
    key: str,
    user_id: str | None = None,
    **context: str,
) -> None:
    """Have a letter sent once the transaction commits; a second one of the same key never is.

    `template`: the NAME of templates/emails/NAME.*, whose README says what it needs of `context`.
    Raises Invalid for an address that is none.
    """
    check_address(to)
    if session.scalar(select(Letter.id).where(Letter.key == key)):
        return
    letter = Letter(
        user_id=user_id, recipient=to, template=template, context=json.dumps(context), key=key
    )
    try:
        with session.begin_nested():
            session.add(letter)
    except IntegrityError:  # another transaction was quicker
        return
    jobs.enqueue(session, "send_letter", letter.id, key=f"send_letter-{letter.id}")


def check_address(address: str) -> None:
    """Raise Invalid unless it can stand in a header: one address, no control characters."""
    name, _, domain = address.rpartition("@")
    unfit = any(ord(char) < 33 or char in ',;<>"\x7f' for char in address)
    if not name or not domain or unfit:
        raise Invalid("This is no e-mail address.", "Check it for typing errors.")
