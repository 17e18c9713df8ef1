"""The billing portal, where customers help themselves: its sessions and its page."""

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import cards, lifecycle, payment_methods
from sandbox.clouds.stripe.card_form import CardForm
from sandbox.clouds.stripe.forms import Asked, check_url, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.routes import Routes
from sandbox.clouds.stripe.subscriptions import cancel_later

KIND = "billing_portal.session"


class NewPortalSession(Asked):
    """POST /v1/billing_portal/sessions"""

    customer: str
    configuration: str | None = None
    flow_data: dict[str, Any] | None = None
    locale: str | None = None
    return_url: str | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Create."""

    def create() -> Document:
        asked = read(NewPortalSession)
        ledger.get("customer", asked.customer, "customer")
        if asked.return_url:
            check_url(asked.return_url, "return_url")
        return ledger.add(_new(asked), "billing_portal.session.created")

    routes.add("POST", "/v1/billing_portal/sessions", create)


def register_pages(blueprint: Blueprint, ledger: Ledger) -> None:
    """The page at a session's `url`."""

    @blueprint.get("/portal/<id_>")
    def portal_page(id_: str) -> ResponseReturnValue:
        return _page(ledger, _session(ledger, id_), CardForm())

    @blueprint.post("/portal/<id_>/card")
    def portal_card(id_: str) -> ResponseReturnValue:
        with ledger.transaction():
            return _change_card(ledger, _session(ledger, id_))

    @blueprint.post("/portal/<id_>/subscriptions/<subscription_id>")
    def portal_subscription(id_: str, subscription_id: str) -> ResponseReturnValue:
        with ledger.transaction():
            session = _session(ledger, id_)
            _change_plan(ledger, session, subscription_id)
        return redirect(url_for("stripe.portal_page", id_=id_), 303)


def _session(ledger: Ledger, id_: str) -> Document:
    session = ledger.find(KIND, id_)
    if session is None:
        abort(404)
    return session


def _page(ledger: Ledger, session: Document, form: CardForm) -> str:
    subscriptions = ledger.all("subscription", customer=session["customer"])
    card = None
    if subscriptions:
        method = payment_methods.for_subscription(ledger, subscriptions[0])
        card = method and method["card"]
    return render_template(
        "stripe/portal.html",
        session=session,
        customer=ledger.known("customer", session["customer"]),
        subscriptions=subscriptions,
        period_end=lifecycle.period_end,
        product_name=lambda one: ledger.known("product", one["price"]["product"])["name"],
        invoices=ledger.all("invoice", customer=session["customer"]),
        card=card,
        typed=form.typed,
        mistakes=form.mistakes,
    )


def _change_card(ledger: Ledger, session: Document) -> ResponseReturnValue:
    form = CardForm(request.form)
    if not form.check():
        return _page(ledger, session, form), 400
    customer = ledger.get("customer", session["customer"])
    billing = {"email": customer["email"], "name": customer["name"]}
    method = payment_methods.make(form.number, form.expiry, billing)
    why = cards.decline(form.number, present=True)
    if why is not None:
        form.refuse(why)
        return _page(ledger, session, form), 402
    payment_methods.replace(ledger, customer, method)
    return redirect(url_for("stripe.portal_page", id_=session["id"]), 303)


def _change_plan(ledger: Ledger, session: Document, id_: str) -> None:
    subscription = ledger.find("subscription", id_)
    if subscription is None or subscription["customer"] != session["customer"]:
        abort(404)
    later = request.form.get("action") == "cancel"
    if subscription["status"] != "canceled" and subscription["cancel_at_period_end"] != later:
        ledger.change(subscription, lifecycle.UPDATED, **cancel_later(subscription, later=later))


def _new(asked: NewPortalSession) -> Document:
    id_ = new_id("bps")
    return {
        "id": id_,
        "object": KIND,
        "configuration": asked.configuration or "bpc_clawdetsandbox",
        "created": now(),
        "customer": asked.customer,
        "customer_account": None,
        "flow": asked.flow_data,
        "livemode": False,
        "locale": asked.locale,
        "on_behalf_of": None,
        "return_url": asked.return_url,
        "url": url_for("stripe.portal_page", id_=id_, _external=True),
    }
