"""What a person tells us: an e-mail address, proven by a link; a name for the instance; consent."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from webapp.accounts import terms
from webapp.accounts.models import EmailLink, User
from webapp.errors import Invalid, TooMany
from webapp.identifiers import hash_token, new_token
from webapp.instances import service as instances
from webapp.instances import slugs
from webapp.jobs import Jobs
from webapp.mail import service as mail
from webapp.settings import WebSettings

LINK_LIFETIME = timedelta(hours=24)
LETTERS_AN_HOUR = 5


class WrongFields(Invalid):
    """What was typed can't be taken; `problems` says why, by the field's name."""

    status = 422

    def __init__(self, **problems: str) -> None:
        super().__init__("This needs another look.", " ".join(problems.values()))
        self.problems = problems


@dataclass(frozen=True)
class Details:
    """What the sign-up form asks for. `slug` is None where there is an instance already."""

    email: str
    slug: str | None
    accepts_terms: bool


@dataclass(frozen=True)
class Postbox:
    """What writing a letter takes."""

    jobs: Jobs
    settings: WebSettings


def check_email(text: str) -> str:
    """The address as we write to it; WrongFields if no letter could reach it.

    Whether its domain takes mail is not asked: the letter will tell.
    """
    try:
        found = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        raise WrongFields(email="This is no e-mail address. Check it for typos.") from error
    return found.ascii_email or found.normalized


def save(session: Session, postbox: Postbox, user_id: str, given: Details, at: datetime) -> None:
    """Take the sign-up form's details, all or none. Raises WrongFields, TooMany."""
    user = session.get_one(User, user_id)
    _check(session, user, given)
    if given.slug is not None and instances.of_user(session, user.id) is None:
        user.slug = _typed_slug(given.slug)
    if not terms.has_accepted(user):
        user.terms_version, user.terms_accepted_at = terms.TERMS_VERSION, at
    change_email(session, postbox, user, check_email(given.email), at)


def change_email(session: Session, postbox: Postbox, user: User, email: str, at: datetime) -> None:
    """Have another address proven, by a letter unless one is on its way. Raises TooMany.

    A proven address stays until the new one is proven, too. `email` is as check_email gave it.
    """
    _revoke_links(session, user.id, at, except_for=email)
    if email == user.email and user.email_verified_at:
        return
    if user.email_verified_at is None:
        user.email = email
    on_its_way = _open_links(user.id, at).where(EmailLink.email == email)
    if session.scalar(on_its_way.limit(1)) is None:
        _send_link(session, postbox, user, email, at)


def send_again(session: Session, postbox: Postbox, user: User, at: datetime) -> str:
    """Another letter to the address that waits to be proven; which one. Raises TooMany, Invalid."""
    email = unproven_email(session, user, at)
    if email is None:
        raise Invalid("There is nothing to confirm.", "Your e-mail address is confirmed.")
    _send_link(session, postbox, user, email, at)
    return email


def unproven_email(session: Session, user: User, at: datetime) -> str | None:
    """The address that waits to be proven, if any."""
    if user.email and user.email_verified_at is None:
        return user.email
    link = session.scalar(_open_links(user.id, at).order_by(EmailLink.expires_at.desc()).limit(1))
    return link.email if link else None


def find_link(session: Session, token: str, at: datetime) -> EmailLink:
    """The link of a letter, still unused. Raises Invalid."""
    link = session.get(EmailLink, hash_token(token))
    if link is None:
        raise Invalid("This link is not one of ours.", "Copy the whole of it from the letter.")
    if link.used_at is not None:
        raise Invalid(
            "This link was used or replaced.",
            "Your settings say which address we write to, and send another letter if need be.",
        )
    if link.expires_at <= at:
        raise Invalid("This link is too old.", "Have another letter sent from your settings.")
    return link


def prove_email(session: Session, token: str, at: datetime) -> str:
    """Use a link: its address is its user's from now on; which one. Raises Invalid."""
    link = find_link(session, token, at)
    user = session.get_one(User, link.user_id, with_for_update=True)
    if user.deleted_at:
        raise Invalid("This account is closed.", "There is nothing to confirm any more.")
    user.email, user.email_verified_at = link.email, at
    _revoke_links(session, user.id, at)
    return link.email


def _check(session: Session, user: User, given: Details) -> None:
    problems: dict[str, str] = {}
    try:
        check_email(given.email)
    except WrongFields as error:
        problems |= error.problems
    if given.slug is not None and (problem := _slug_problem(session, user, given.slug)):
        problems["slug"] = problem
    if not given.accepts_terms and not terms.has_accepted(user):
        problems["terms"] = "We need your consent to go on. Read the terms, then tick the box."
    if problems:
        raise WrongFields(**problems)


def _slug_problem(session: Session, user: User, typed: str) -> str | None:
    slug = _typed_slug(typed)
    problem = slugs.slug_problem(slug)
    if problem or slugs.is_free(session, slug, user.id):
        return problem
    return f"{slug} is taken. {slugs.suggest(session, slug, user.id)} is free."


def _typed_slug(typed: str) -> str:
    return typed.strip().lower()


def _send_link(session: Session, postbox: Postbox, user: User, email: str, at: datetime) -> None:
    _check_letters(session, user.id, email, at)
    token = new_token()
    link = EmailLink(
        token_hash=hash_token(token), user_id=user.id, email=email, expires_at=at + LINK_LIFETIME
    )
    session.add(link)
    mail.post(
        session,
        postbox.jobs,
        to=email,
        template="verify_email",
        key=f"verify-{link.token_hash}",
        user_id=user.id,
        name=user.x_name,
        link=postbox.settings.url(f"/verify-email/{token}"),
        date=f"{link.expires_at:%H:%M} UTC on {link.expires_at.day} {link.expires_at:%B}",
    )


def _check_letters(session: Session, user_id: str, email: str, at: datetime) -> None:
    """Nobody's mailbox is filled through us: neither by one account nor by several."""
    an_hour_ago = at - timedelta(hours=1) + LINK_LIFETIME
    sent = session.scalar(
        select(func.count())
        .select_from(EmailLink)
        .where(or_(EmailLink.user_id == user_id, EmailLink.email == email))
        .where(EmailLink.expires_at > an_hour_ago)
    )
    if (sent or 0) >= LETTERS_AN_HOUR:
        raise TooMany(
            "That were many letters.",
            "Look into your spam folder, or try again in an hour. What you had is unchanged.",
        )


def _open_links(user_id: str, at: datetime) -> Select[EmailLink]:
    return select(EmailLink).where(
        EmailLink.user_id == user_id, EmailLink.used_at.is_(None), EmailLink.expires_at > at
    )


def _revoke_links(session: Session, user_id: str, at: datetime, except_for: str = "") -> None:
    session.execute(
        update(EmailLink)
        .where(
            EmailLink.user_id == user_id,
            EmailLink.used_at.is_(None),
            EmailLink.email != except_for,
        )
        .values(used_at=at)
    )
