"""Stripe, as far as Clawdet uses it: the API, the hosted pages, and signed webhooks.

The protocol is the vendor's (API version 2026-10-28): keys, form fields, errors, idempotency,
lists, expansion, objects, events. It is test mode; nothing but test cards pays. Every event is kept
and delivered to the registered endpoints by a thread, also after a restart. `control` says how to
let time pass and how to disturb deliveries.
"""

from typing import Any

from flask import Blueprint, Flask

from sandbox.clouds.stripe import (
    account,
    catalog,
    checkout_page,
    control,
    coupons,
    customers,
    events,
    invoices,
    payment_methods,
    payments,
    portal,
    refunds,
    sessions,
    subscriptions,
    webhook_endpoints,
    words,
)
from sandbox.clouds.stripe.errors import ApiError, failure
from sandbox.clouds.stripe.ledger import Ledger
from sandbox.clouds.stripe.routes import Routes
from sandbox.clouds.stripe.sender import Sender
from sandbox.clouds.world import World

NAME = "stripe"
SENDER = "sandbox.stripe.sender"


def blueprint(world: World) -> Blueprint:
    """The API under the prefix that it is registered with, which is the clients' base address."""
    ledger = Ledger(world)
    _seed(ledger)
    stripe = Blueprint(NAME, __name__, template_folder="templates")
    stripe.register_error_handler(ApiError, failure)
    for filter_ in (words.money, words.every, words.day):
        stripe.add_app_template_filter(filter_)
    routes = Routes(stripe, ledger)
    for part in (
        account, catalog, coupons, customers, events, invoices, payment_methods, payments, portal,
        refunds, sessions, subscriptions, webhook_endpoints,
    ):  # fmt: skip
        part.register(routes, ledger)
    routes.refuse_the_rest()
    checkout_page.register(stripe, ledger)
    invoices.register_pages(stripe, ledger)
    portal.register_pages(stripe, ledger)
    control.register(stripe, ledger)
    stripe.record_once(lambda state: _start(state.app.extensions, ledger))
    return stripe


def close(app: Flask) -> None:
    """Finish the webhook that is being sent, and send no more; the rest stays in the store."""
    sender: Sender = app.extensions[SENDER]
    sender.close()


def _start(extensions: dict[str, Any], ledger: Ledger) -> None:
    extensions[SENDER] = Sender(ledger, lambda: sessions.expire_due(ledger))


def _seed(ledger: Ledger) -> None:
    with ledger.transaction():
        catalog.seed(ledger)
        coupons.seed(ledger)
