"""Letters: kept and enqueued in one transaction, so that each is sent, and none is sent twice."""

import json

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.jobs import Jobs
from webapp.mail.addresses import check_address
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
