"""What the real Stripe does not offer: time that passes, and webhooks that come as one wishes.

JSON, without a key, for this machine only; under `sandbox/`:

    POST advance             {"subscription": ID, "to": "period_end"} or {…, "seconds": N}: so much
                             time passes for it. What falls due happens: renewal, retry, end;
                             when nothing does, customer.subscription.updated tells the new dates.
                             {"checkout_session": ID, "seconds": N} does it for a session.
                             Answers with the object.
    POST deliveries          {"mode": M}, from now on:
                             normal     every event is sent once; what was held is sent now
                             hold       events wait
                             reverse    what was held is sent now, newest first; then as normal
                             duplicate  every event is sent three times at once
                             drop       events are never sent
    GET  deliveries          {"mode": M, "deliveries": [what was sent where, and every answer]}
    POST events/ID/resend    send an event once more: {"endpoints": how many get it}
    POST card                {"customer": ID, "number": N}: a test card becomes the one on file,
                             without its bank being asked. Answers with the payment method.

Wrong input is answered with 400 and {"error": what is wrong}.
"""

import datetime
import ipaddress
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sandbox.clouds.store import Document
from sandbox.clouds.stripe import cards, lifecycle, payment_methods, sessions
from sandbox.clouds.stripe.deliveries import Mode
from sandbox.clouds.stripe.errors import ApiError
from sandbox.clouds.stripe.ledger import Ledger, now, view


class Order(BaseModel):
    """A body of the control API."""

    model_config = ConfigDict(extra="forbid")


class Advance(Order):
    """How much time passes for what."""

    subscription: str | None = None
    checkout_session: str | None = None
    to: Literal["period_end"] | None = None
    seconds: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Advance":
        if (self.subscription is None) == (self.checkout_session is None):
            raise ValueError("give either subscription or checkout_session")
        if (self.to is None) == (self.seconds is None):
            raise ValueError("give either to or seconds")
        if self.checkout_session and self.to:
            raise ValueError("a checkout session has no period: give seconds")
        return self


class Deliveries(Order):
    """How webhooks are delivered."""

    mode: Mode


class CardOnFile(Order):
    """Which test card a customer pays with."""

    customer: str
    number: str


M = TypeVar("M", bound=Order)


def register(blueprint: Blueprint, ledger: Ledger) -> None:
    """The control API; it is let through for loopback addresses only."""

    def advance() -> Response:
        return jsonify(view(_advance(ledger, _body(Advance))))

    def set_mode() -> Response:
        ledger.queue.set_mode(_body(Deliveries).mode)
        return deliveries()

    def deliveries() -> Response:
        return jsonify({"mode": ledger.queue.mode(), "deliveries": ledger.queue.all()})

    def resend(id_: str) -> Response:
        event = ledger.get("event", id_)
        endpoints = ledger.all("webhook_endpoint", status="enabled")
        return jsonify({"endpoints": ledger.queue.resend(event, endpoints)})

    def card() -> Response:
        return jsonify(view(_replace_card(ledger, _body(CardOnFile))))

    def add(method: str, path: str, act: Callable[..., Response]) -> None:
        def run(**ids: str) -> ResponseReturnValue:
            return _guarded(ledger, act, ids)

        name = f"sandbox {method} {path}"
        blueprint.add_url_rule(f"/sandbox/{path}", name, run, methods=[method])

    add("POST", "advance", advance)
    add("POST", "deliveries", set_mode)
    add("GET", "deliveries", deliveries)
    add("POST", "events/<id_>/resend", resend)
    add("POST", "card", card)


def _guarded(
    ledger: Ledger, act: Callable[..., Response], ids: dict[str, str]
) -> ResponseReturnValue:
    if not ipaddress.ip_address(request.remote_addr or "0.0.0.0").is_loopback:
        return jsonify({"error": "the control API is for this machine only"}), 403
    try:
        with ledger.transaction():
            return act(**ids)
    except (ApiError, ValueError) as error:
        return jsonify({"error": str(error)}), 400


def _body(model: type[M]) -> M:
    try:
        return model.model_validate_json(request.get_data() or b"{}")
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise ValueError("; ".join(problems)) from error


def _advance(ledger: Ledger, asked: Advance) -> Document:
    if asked.checkout_session:
        session = ledger.get(sessions.KIND, asked.checkout_session)
        seconds = asked.seconds or 0
        moved = {name: session[name] - seconds for name in ("created", "expires_at")}
        ledger.change(session, None, **moved)
        sessions.expire_due(ledger)
        return ledger.get(sessions.KIND, session["id"])
    subscription = ledger.get("subscription", asked.subscription or "")
    if subscription["status"] == "canceled":
        raise ValueError("the subscription has ended: its time stands still")
    seconds = asked.seconds or max(0, lifecycle.period_end(subscription) - now())
    lifecycle.shift(ledger, subscription, seconds)
    if not lifecycle.go_on(ledger, subscription):
        ledger.tell(lifecycle.UPDATED, subscription, {})
    return ledger.get("subscription", subscription["id"])


def _replace_card(ledger: Ledger, asked: CardOnFile) -> Document:
    number = cards.check_number(asked.number)
    customer = ledger.get("customer", asked.customer, "customer")
    next_year = datetime.datetime.now(datetime.UTC).year + 1
    billing = {"email": customer["email"], "name": customer["name"]}
    method = payment_methods.make(number, (12, next_year), billing)
    payment_methods.replace(ledger, customer, method)
    return method
