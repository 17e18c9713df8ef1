"""The hosted checkout page, at the `url` of a session."""

import json
from collections.abc import Callable
from dataclasses import asdict

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import cards, checkout, discounts, sessions
from sandbox.clouds.stripe.card_form import CardForm
from sandbox.clouds.stripe.checkout import Buyer
from sandbox.clouds.stripe.customers import is_email
from sandbox.clouds.stripe.discounts import Unusable
from sandbox.clouds.stripe.ledger import Ledger

ADDRESS = {"line1": "Address", "postal_code": "Postal code", "city": "City", "country": "Country"}
"""Fields of a billing address and how the page calls them."""
Step = Callable[[Ledger, Document], ResponseReturnValue]
MISSING = "Fill in this field."


def register(blueprint: Blueprint, ledger: Ledger) -> None:
    """The page, its promotion code form, and the bank's page of a 3-D Secure card."""

    @blueprint.get("/checkout/<id_>")
    def checkout_page(id_: str) -> ResponseReturnValue:
        session = _session(ledger, id_)
        return _page(ledger, session) if session["status"] == "open" else _closed(session)

    @blueprint.post("/checkout/<id_>")
    def checkout_pay(id_: str) -> ResponseReturnValue:
        return _step(ledger, id_, _pay)

    @blueprint.post("/checkout/<id_>/promotion")
    def checkout_promotion(id_: str) -> ResponseReturnValue:
        return _step(ledger, id_, _promote)

    @blueprint.get("/checkout/<id_>/authenticate")
    def checkout_bank(id_: str) -> ResponseReturnValue:
        session = _session(ledger, id_)
        if session["status"] != "open":
            return _closed(session)
        if not session.get("_buyer"):
            return redirect(url_for("stripe.checkout_page", id_=id_), 303)
        return render_template("stripe/authenticate.html", session=session)

    @blueprint.post("/checkout/<id_>/authenticate")
    def checkout_authenticate(id_: str) -> ResponseReturnValue:
        return _step(ledger, id_, _authenticate)


def _step(ledger: Ledger, id_: str, act: Step) -> ResponseReturnValue:
    """One form of an open session, in a transaction: who presses twice pays once."""
    with ledger.transaction():
        session = _session(ledger, id_)
        if session["status"] == "complete":
            return redirect(_success_url(session), 303)
        if session["status"] != "open":
            return _closed(session)
        return act(ledger, session)


def _session(ledger: Ledger, id_: str) -> Document:
    sessions.expire_due(ledger)
    session = ledger.find(sessions.KIND, id_)
    if session is None:
        abort(404)
    return session


def _pay(ledger: Ledger, session: Document) -> ResponseReturnValue:
    form = CardForm(request.form)
    buyer = _buyer(ledger, session, form)
    if buyer is None:
        return _page(ledger, session, form), 400
    if checkout.needs_authentication(buyer):
        ledger.change(session, None, _buyer=json.dumps(asdict(buyer)))
        return redirect(url_for("stripe.checkout_bank", id_=session["id"]), 303)
    return _conclude(ledger, session, buyer, form, None)


def _authenticate(ledger: Ledger, session: Document) -> ResponseReturnValue:
    kept = session.get("_buyer")
    if not kept:
        return redirect(url_for("stripe.checkout_page", id_=session["id"]), 303)
    ledger.change(session, None, _buyer=None)
    fields = json.loads(kept)
    buyer = Buyer(**fields | {"expiry": tuple(fields["expiry"])})
    agreed = request.form.get("answer") == "complete"
    form = CardForm({"email": buyer.email, "name": buyer.name or ""})
    why = None if agreed else cards.UNAUTHENTICATED
    return _conclude(ledger, session, buyer, form, why)


def _conclude(
    ledger: Ledger, session: Document, buyer: Buyer, form: CardForm, why: cards.Decline | None
) -> ResponseReturnValue:
    refused = checkout.refusal(ledger, session, buyer, why)
    if refused is not None:
        form.refuse(refused)
        return _page(ledger, session, form), 402
    checkout.complete(ledger, session, buyer)
    return redirect(_success_url(session), 303)


def _promote(ledger: Ledger, session: Document) -> ResponseReturnValue:
    if not session["allow_promotion_codes"]:
        abort(404)
    if request.form.get("action") == "remove":
        sessions.discount_by(ledger, session, [])
        return redirect(url_for("stripe.checkout_page", id_=session["id"]), 303)
    code = request.form.get("promotion_code", "").strip()
    try:
        promotion = discounts.find_code(ledger, code)
        subtotal = session["amount_subtotal"]
        coupon = discounts.check(ledger, promotion, session["customer"], subtotal)
    except Unusable as error:
        mistakes = {"promotion_code": str(error) if code else "Enter a code."}
        return _page(ledger, session, CardForm(request.form, mistakes)), 400
    chosen = {"coupon": coupon["id"], "promotion_code": promotion["id"]}
    sessions.discount_by(ledger, session, [chosen])
    return redirect(url_for("stripe.checkout_page", id_=session["id"]), 303)


def _buyer(ledger: Ledger, session: Document, form: CardForm) -> Buyer | None:
    """Who pays, as typed; None when `form` says what is wrong."""
    typed = form.typed
    email = _fixed_email(ledger, session) or typed.get("email", "").strip()
    if not is_email(email):
        form.mistakes["email"] = "Enter your e-mail address, such as you@example.com."
    name = typed.get("name", "").strip() or None
    address = None
    if session["billing_address_collection"] == "required":
        address = {field: typed.get(field, "").strip() or None for field in ADDRESS}
        form.mistakes |= {field: MISSING for field, value in address.items() if not value}
    if not form.check():
        return None
    tax_id = typed.get("tax_id", "").strip() or None
    return Buyer(email, name, address, form.number, form.expiry, tax_id)


def _fixed_email(ledger: Ledger, session: Document) -> str | None:
    """The address that the session's creator gave, which the customer can't change."""
    email: str | None = session["customer_email"]
    if session["customer"]:
        email = (ledger.find("customer", session["customer"]) or {}).get("email")
    return email


def _page(ledger: Ledger, session: Document, form: CardForm | None = None) -> str:
    form = form or CardForm()
    code = None
    if session["discounts"]:
        chosen = session["discounts"][0]
        found = ledger.find("promotion_code", chosen["promotion_code"] or "")
        code = found["code"] if found else chosen["coupon"]
    return render_template(
        "stripe/checkout.html",
        session=session,
        items=session["_line_items"],
        code=code,
        email=_fixed_email(ledger, session),
        address=ADDRESS if session["billing_address_collection"] == "required" else {},
        typed=form.typed,
        mistakes=form.mistakes,
    )


def _closed(session: Document) -> ResponseReturnValue:
    gone = session["status"] == "expired"
    back = session["cancel_url"] if gone else _success_url(session)
    return render_template("stripe/closed.html", gone=gone, back=back), 410 if gone else 200


def _success_url(session: Document) -> str:
    url: str = session["success_url"]
    return url.replace("{CHECKOUT_SESSION_ID}", session["id"])
