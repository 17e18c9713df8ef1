"""What Stripe tells us, however it arrives."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.webapp.billing.conftest import WEBHOOKS, Customer, Site, jobs_named
from tests.webapp.billing.stripe_account import StripeAccount
from webapp import clock
from webapp.accounts.models import User
from webapp.adapters.payments import Payments
from webapp.adapters.stripe_objects import Order
from webapp.billing import subscriptions
from webapp.billing.jobs import handle_webhook, reconcile_billing
from webapp.billing.models import WebhookEvent
from webapp.errors import Unavailable
from webapp.http.context import Clawdet
from webapp.settings import WebSettings

WAIT_S = 120
HandleAll = Callable[[], list[str]]


def signed(secret: str, payload: bytes, moment: int | None = None) -> dict[str, str]:
    moment = int(time.time()) if moment is None else moment
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + payload, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={moment},v1={digest}", "Content-Type": "application/json"}


def event(id_: str = "evt_1", type_: str = "customer.created", **about: Any) -> bytes:
    return json.dumps(
        {
            "id": id_,
            "object": "event",
            "type": type_,
            "created": int(time.time()),
            "data": {"object": {"object": "customer", "id": "cus_1", **about}},
        }
    ).encode()


def stored(c: Clawdet) -> list[WebhookEvent]:
    with c.db.read() as session:
        return list(session.scalars(select(WebhookEvent)))


def send(client: FlaskClient, account: StripeAccount, told: dict[str, Any]) -> int:
    payload = json.dumps(told).encode()
    answer = client.post(WEBHOOKS, data=payload, headers=signed(account.secret, payload))
    return answer.status_code


def send_all(client: FlaskClient, account: StripeAccount, customer: str) -> list[dict[str, Any]]:
    """Tell of everything about a customer, oldest first; the events."""
    events = account.events_of(customer)[::-1]
    assert [send(client, account, one) for one in events] == [200] * len(events)
    return events


def wait_until_delivered(account: StripeAccount) -> None:
    deadline = time.monotonic() + WAIT_S
    while account.undelivered():
        assert time.monotonic() < deadline, "webhooks are still waiting"
        time.sleep(0.05)


@pytest.mark.parametrize("wrong", ["secret", "payload", "old", "missing", "garbled"])
def test_what_stripe_has_not_signed_is_refused(
    c: Clawdet, client: FlaskClient, stripe_account: StripeAccount, wrong: str
) -> None:
    payload = event()
    headers = {
        "secret": signed("whsec_another", payload),
        "payload": signed(stripe_account.secret, event("evt_2")),
        "old": signed(stripe_account.secret, payload, int(time.time()) - 3600),
        "missing": {},
        "garbled": {"Stripe-Signature": "t=soon,v1=\xff"},
    }[wrong]
    answer = client.post(WEBHOOKS, data=payload, headers=headers)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert stored(c) == []


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"no JSON", b"\xff", b'{"id": "evt_1"}'])
def test_a_signed_body_that_is_no_event_is_refused(
    c: Clawdet, client: FlaskClient, stripe_account: StripeAccount, payload: bytes
) -> None:
    headers = signed(stripe_account.secret, payload)
    assert client.post(WEBHOOKS, data=payload, headers=headers).status_code == 400
    assert stored(c) == []


def test_a_body_that_is_too_large_is_refused(
    c: Clawdet, client: FlaskClient, stripe_account: StripeAccount
) -> None:
    payload = event(padding="x" * 512 * 1024)
    answer = client.post(WEBHOOKS, data=payload, headers=signed(stripe_account.secret, payload))
    assert answer.status_code == 413
    assert stored(c) == []


def test_a_webhook_is_kept_with_its_job_and_answered_without_asking_stripe(
    c: Clawdet, paid: Customer, client: FlaskClient, stripe_account: StripeAccount
) -> None:
    told = stripe_account.events_of(paid.stripe_id)[0]
    before = stripe_account.last_request()
    assert send(client, stripe_account, told) == 200
    assert stripe_account.requests_since(before) == []
    assert [one.id for one in stored(c)] == [told["id"]]
    assert jobs_named(c, "webhook-") == [f"webhook-{told['id']}"]


def test_nothing_personal_is_kept_of_a_webhook(
    c: Clawdet, client: FlaskClient, stripe_account: StripeAccount
) -> None:
    payload = event(email="alice@example.com", name="Alice")
    client.post(WEBHOOKS, data=payload, headers=signed(stripe_account.secret, payload))
    assert "alice" not in stored(c)[0].payload.lower()


def test_the_same_event_twenty_times_at_once_is_one_job(
    c: Clawdet, site: Site, stripe_account: StripeAccount
) -> None:
    payload = event("evt_twenty")
    headers = signed(stripe_account.secret, payload)

    def once(_: int) -> int:
        return requests.post(site.url + WEBHOOKS, payload, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(once, range(20))) == {200}
    assert len(stored(c)) == 1
    assert jobs_named(c, "webhook-") == ["webhook-evt_twenty"]


def test_an_unknown_kind_of_event_is_ignored(
    c: Clawdet, client: FlaskClient, stripe_account: StripeAccount, handle_all: HandleAll
) -> None:
    payload = event(type_="mandate.updated")
    client.post(WEBHOOKS, data=payload, headers=signed(stripe_account.secret, payload))
    assert handle_all() == ["ignored"]
    assert stored(c)[0].handled_at is not None


def test_an_event_about_something_that_is_not_ours_is_ignored(
    client: FlaskClient, stripe_account: StripeAccount, handle_all: HandleAll
) -> None:
    about = {"object": "subscription", "id": "sub_of_another_world"}
    payload = event(type_="customer.subscription.updated", **about)
    client.post(WEBHOOKS, data=payload, headers=signed(stripe_account.secret, payload))
    assert handle_all()[0].startswith("ignored")


def test_webhooks_alone_make_the_instance(
    alice: Customer, site: Site, stripe_account: StripeAccount, handle_all: HandleAll
) -> None:
    answer = stripe_account.pay(alice.checkout())
    wait_until_delivered(stripe_account)
    handle_all()
    assert alice.desired == ["running"]
    assert "Paid. Thank you." in alice.come_back(answer).text
    assert len(jobs_named(alice.c, "reconcile-")) == 1


def test_webhooks_after_the_browser_change_nothing(
    alice: Customer, site: Site, stripe_account: StripeAccount, handle_all: HandleAll
) -> None:
    stripe_account.deliver("hold")
    alice.come_back(stripe_account.pay(alice.checkout()))
    stripe_account.deliver("normal")
    wait_until_delivered(stripe_account)
    handle_all()
    assert alice.desired == ["running"]
    assert len(jobs_named(alice.c, "reconcile-")) == 1


@pytest.mark.parametrize("mode", ["reverse", "duplicate"])
def test_order_and_repetition_of_webhooks_do_not_matter(
    alice: Customer, site: Site, stripe_account: StripeAccount, handle_all: HandleAll, mode: str
) -> None:
    stripe_account.deliver("hold")
    stripe_account.pay(alice.checkout())
    subscription = stripe_account.subscriptions(alice.stripe_id)[0]["id"]
    stripe_account.call("DELETE", f"subscriptions/{subscription}")
    stripe_account.deliver(mode)
    wait_until_delivered(stripe_account)
    handle_all()
    assert alice.subscriptions == {subscription: "canceled"}
    assert alice.instances == []
    assert alice.user.paid_at is None


def test_what_was_said_before_the_end_does_not_revive_it(
    paid: Customer, client: FlaskClient, stripe_account: StripeAccount, handle_all: HandleAll
) -> None:
    subscription = next(iter(paid.subscriptions))
    stripe_account.call("DELETE", f"subscriptions/{subscription}")
    for told in stripe_account.events_of(paid.stripe_id):  # newest first
        assert send(client, stripe_account, told) == 200
    handle_all()
    assert paid.desired == ["deleted"]
    assert paid.subscriptions == {subscription: "canceled"}


def test_a_lost_webhook_is_found(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount, handle_all: HandleAll
) -> None:
    stripe_account.pay(alice.checkout())  # nobody comes back, nobody is told
    assert alice.instances == []
    reconcile_billing(c)
    assert set(handle_all()) >= {"checkout done"}
    assert alice.desired == ["running"]


def test_what_was_found_once_is_not_found_again(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount, handle_all: HandleAll
) -> None:
    stripe_account.pay(alice.checkout())
    reconcile_billing(c)
    handle_all()
    reconcile_billing(c)
    keys = {f"webhook-{one['id']}" for one in stripe_account.events_of(alice.stripe_id)}
    found = [key for key in jobs_named(c, "webhook-") if key in keys]
    assert sorted(found) == sorted(set(found))
    assert len(jobs_named(c, "reconcile-")) == 1


def test_while_stripe_is_away_handling_waits_and_is_not_forgotten(
    c: Clawdet,
    alice: Customer,
    client: FlaskClient,
    stripe_account: StripeAccount,
    handle_all: HandleAll,
) -> None:
    stripe_account.pay(alice.checkout())
    events = send_all(client, stripe_account, alice.stripe_id)
    paid = next(one["id"] for one in events if one["type"] == "invoice.paid")
    stripe_account.fail(kind="status", status=500, path="^/stripe/v1/", times=100)
    with pytest.raises(Unavailable):
        handle_webhook(c, paid)
    kept = {one.id: one for one in stored(c)}[paid]
    assert (kept.handled_at, kept.tries) == (None, 1)
    assert "not answering" in kept.outcome
    stripe_account.mend()
    handle_all()
    assert alice.desired == ["running"]


def test_handling_that_got_lost_is_enqueued_again(
    c: Clawdet, paid: Customer, client: FlaskClient, stripe_account: StripeAccount
) -> None:
    told = send_all(client, stripe_account, paid.stripe_id)[0]
    with c.db.begin() as session:
        session.get_one(WebhookEvent, told["id"]).received_at = paid.user.created_at.replace(
            year=2020
        )
    reconcile_billing(c)
    assert len(jobs_named(c, f"webhook-{told['id']}")) == 2


def test_a_payment_of_a_closed_account_is_given_back(
    c: Clawdet,
    alice: Customer,
    client: FlaskClient,
    stripe_account: StripeAccount,
    handle_all: HandleAll,
) -> None:
    stripe_account.pay(alice.checkout())
    customer = alice.stripe_id
    with c.db.begin() as session:
        session.get_one(User, alice.id).deleted_at = clock.now()
    send_all(client, stripe_account, customer)
    outcomes = handle_all()
    assert any("closed account: refunded and cancelled" in one for one in outcomes)
    assert [one["status"] for one in stripe_account.subscriptions(customer)] == ["canceled"]
    assert stripe_account.refunded_cents(customer) == 1900
    assert alice.instances == []


def test_a_payment_of_nobody_we_know_waits_for_an_operator(
    app: Flask,
    c: Clawdet,
    client: FlaskClient,
    stripe_account: StripeAccount,
    handle_all: HandleAll,
) -> None:
    customer = stripe_account.call("POST", "customers", email="nobody@example.com")["id"]
    checkout = c.payments.start_checkout(
        Order(f"chk_{customer}", "usr_nobody", customer, "http://localhost/", "http://localhost/")
    )
    stripe_account.pay(checkout.url or "")
    send_all(client, stripe_account, customer)
    outcomes = handle_all()
    assert any("is paid for by usr_nobody, whom nobody here knows" in one for one in outcomes)
    (waiting,) = {one.outcome for one in stored(c) if one.handled_at is None}
    assert "user_id" in waiting
    assert [one["status"] for one in stripe_account.subscriptions(customer)] == ["active"]
    assert stripe_account.refunded_cents(customer) == 0


def test_a_subscription_that_was_made_by_hand_belongs_to_its_customer(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    subscription = next(iter(paid.subscriptions))
    blank = {"metadata[user_id]": "", "metadata[site]": "", "cancel_at_period_end": "true"}
    stripe_account.call("POST", f"subscriptions/{subscription}", **blank)
    subscriptions.apply(c, subscription)
    assert paid.client.get("/api/payment/status").get_json()["standing"] == "ending"


def test_a_payment_of_another_site_is_left_alone(
    c: Clawdet,
    settings: WebSettings,
    client: FlaskClient,
    stripe_account: StripeAccount,
    handle_all: HandleAll,
) -> None:
    customer = stripe_account.call("POST", "customers", email="other@example.com")["id"]
    other = Payments(settings.model_copy(update={"clawdet_web_url": "https://other.example"}))
    checkout = other.start_checkout(
        Order(f"chk_{customer}", "usr_other", customer, "http://localhost/", "http://localhost/")
    )
    stripe_account.pay(checkout.url or "")
    send_all(client, stripe_account, customer)
    handle_all()
    assert [one["status"] for one in stripe_account.subscriptions(customer)] == ["active"]
    assert stripe_account.refunded_cents(customer) == 0


def test_of_two_subscriptions_the_newer_is_given_back(
    c: Clawdet,
    paid: Customer,
    client: FlaskClient,
    stripe_account: StripeAccount,
    handle_all: HandleAll,
) -> None:
    first = next(iter(paid.subscriptions))
    created = stripe_account.subscriptions(paid.stripe_id)[0]["created"]
    while int(time.time()) <= created:  # Stripe counts in seconds
        time.sleep(0.05)
    back = "http://localhost:8000/"
    again = Order(f"{first}-again", paid.id, paid.stripe_id, back, back)
    stripe_account.pay(c.payments.start_checkout(again).url or "")
    send_all(client, stripe_account, paid.stripe_id)
    handle_all()
    states = {one["id"]: one["status"] for one in stripe_account.subscriptions(paid.stripe_id)}
    assert states.pop(first) == "active"
    assert list(states.values()) == ["canceled"]
    assert stripe_account.refunded_cents(paid.stripe_id) == 1900
    assert sorted(paid.subscriptions.values()) == ["active", "canceled"]
    assert paid.desired == ["running"]
