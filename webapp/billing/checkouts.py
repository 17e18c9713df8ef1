"""Attempts to pay: begun here, paid at Stripe, and looked at again when the browser is back."""

import hashlib
from datetime import datetime, timedelta
from typing import Literal

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts import terms
from webapp.accounts.models import User
from webapp.adapters.stripe_objects import CheckoutSession, Order
from webapp.billing import subscriptions
from webapp.billing.models import Checkout
from webapp.errors import Conflict, Invalid, NotFound
from webapp.http.context import Clawdet
from webapp.instances.capacity import has_capacity

SUCCESS_PATH = "/signup/success?session_id={CHECKOUT_SESSION_ID}"
CANCEL_PATH = "/signup/cancelled"
SHORTEST = timedelta(minutes=10)
"""A page that expires sooner is not worth leading anybody to."""
KEY_LIFETIME = timedelta(hours=23)
"""Stripe forgets an idempotency key after a day."""

Outcome = Literal["done", "processing", "open", "expired"]

log = structlog.get_logger(__name__)


class AlreadyPaying(Conflict):
    """They have a plan: there is nothing to pay here, and the dashboard says the rest."""

    code = "already_paying"


def start(c: Clawdet, user: User) -> str:
    """The hosted page to pay on; the one that is open already rather than another.

    Raises AlreadyPaying, Conflict when something is missing or nothing can be had just now,
    Unavailable when Stripe does not answer.
    """
    at = clock.now()
    with c.db.begin() as session:
        current = session.get_one(User, user.id, with_for_update=True)
        check(session, current)
        checkout = _open(session, current.id, at) or _new(session, current.id, at)
    if checkout.url:
        return checkout.url
    made = _make(c, current, checkout)
    with c.db.begin() as session:
        _copy(session.get_one(Checkout, checkout.id), made)
    if not made.url:
        raise Conflict("This checkout is over.", "Nothing more was charged. Start it again.")
    return made.url


def check(session: Session, user: User) -> None:
    """Whether this user can pay now; Conflict says why not, and what to do."""
    if user.payment_method == "manual" or subscriptions.living(session, user.id):
        raise AlreadyPaying("You have a plan already.", "Nothing was charged.")
    if not user.email or not terms.has_accepted(user):
        raise Conflict(
            "Your details are not complete.", "Give an e-mail address and accept the terms first."
        )
    if user.email_verified_at is None:
        raise Conflict(
            "Your e-mail address is not confirmed yet.",
            "Open the link in the letter that we sent you, then come back.",
        )
    if not has_capacity(session):
        raise Conflict(
            "All our servers are taken just now.",
            "Nothing was charged. New ones come every day: try again tomorrow.",
        )


def finish(c: Clawdet, session_id: str, at: datetime | None = None) -> Outcome:
    """Look at a checkout session and do at once what its payment leads to. Safe to repeat.

    Raises NotFound for one that is not ours, Unavailable when Stripe does not answer.
    """
    with c.db.read() as session:
        known = session.scalar(select(Checkout).where(Checkout.stripe_session_id == session_id))
    found = c.payments.checkout(session_id)
    if known is None and not found.checkout_id:
        raise NotFound("There is no such payment.", "The address may be mistyped.")
    with c.db.begin() as session:
        checkout = session.get(Checkout, found.checkout_id)
        if checkout is not None:
            _copy(checkout, found)
    if found.status == "complete" and found.subscription_id:
        subscriptions.apply(c, found.subscription_id, at)
    return _outcome(found)


def close_all(c: Clawdet, user_id: str) -> None:
    """Nobody can pay for this user any more on a page that is open."""
    with c.db.read() as session:
        found = [one.stripe_session_id for one in _all_open(session, user_id)]
    for session_id in filter(None, found):
        c.payments.expire_checkout(session_id)
    with c.db.begin() as session:
        for checkout in _all_open(session, user_id):
            checkout.status = "expired"


def _outcome(found: CheckoutSession) -> Outcome:
    if found.status == "complete":
        return "done" if found.is_paid else "processing"
    return "expired" if found.status == "expired" else "open"


def _all_open(session: Session, user_id: str) -> list[Checkout]:
    return list(
        session.scalars(
            select(Checkout)
            .where(Checkout.user_id == user_id, Checkout.status == "open")
            .order_by(Checkout.created_at.desc())
        )
    )


def _open(session: Session, user_id: str, at: datetime) -> Checkout | None:
    """One that can still be paid; or one whose making was cut short, which goes on."""
    for checkout in _all_open(session, user_id):
        until = checkout.expires_at or checkout.created_at + KEY_LIFETIME
        if until - at > SHORTEST:
            return checkout
    return None


def _new(session: Session, user_id: str, at: datetime) -> Checkout:
    checkout = Checkout(user_id=user_id, created_at=at)
    session.add(checkout)
    session.flush()
    return checkout


def _make(c: Clawdet, user: User, checkout: Checkout) -> CheckoutSession:
    try:
        customer_id = user.stripe_customer_id or _make_customer(c, user)
        order = Order(
            checkout_id=checkout.id,
            user_id=user.id,
            customer_id=customer_id,
            success_url=c.settings.url(SUCCESS_PATH),
            cancel_url=c.settings.url(CANCEL_PATH),
        )
        return c.payments.start_checkout(order)
    except (Conflict, Invalid, NotFound) as error:
        _abandon(c, user, checkout, forget_customer=isinstance(error, NotFound))
        raise


def _make_customer(c: Clawdet, user: User) -> str:
    email = user.email or ""
    key = f"customer-{user.id}-{hashlib.sha256(email.encode()).hexdigest()[:16]}"
    made = c.payments.make_customer(user.id, email, user.x_name, key)
    with c.db.begin() as session:
        current = session.get_one(User, user.id, with_for_update=True)
        current.stripe_customer_id = current.stripe_customer_id or made
        return current.stripe_customer_id


def _abandon(c: Clawdet, user: User, checkout: Checkout, *, forget_customer: bool) -> None:
    """Stripe will not have it: the next attempt is a new one, of a new customer if need be."""
    log.error("checkout_refused", checkout=checkout.id, customer_is_gone=forget_customer)
    with c.db.begin() as session:
        session.get_one(Checkout, checkout.id).status = "expired"
        if forget_customer:
            session.get_one(User, user.id).stripe_customer_id = None


def _copy(checkout: Checkout, found: CheckoutSession) -> None:
    checkout.stripe_session_id = found.id
    checkout.status = found.status
    checkout.url = found.url
    checkout.expires_at = found.expires_at
