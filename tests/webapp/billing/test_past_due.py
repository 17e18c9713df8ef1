"""What follows when a payment fails, day by day, and when somebody leaves."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, select

from tests.webapp.billing.conftest import Customer, set_past_due_since
from tests.webapp.billing.stripe_account import GOOD, StripeAccount
from webapp import clock
from webapp.accounts.models import User
from webapp.billing import service, subscriptions
from webapp.billing.jobs import reconcile_billing
from webapp.billing.models import Subscription
from webapp.billing.words import day
from webapp.errors import Conflict
from webapp.http.context import Clawdet
from webapp.instances import service as instances
from webapp.instances.models import Instance, InstanceEvent
from webapp.mail.jobs import render
from webapp.mail.models import Letter

DAY = timedelta(days=1)
GRACE, SUSPENDED = 7 * DAY, 14 * DAY  # the settings' defaults


def subscription_of(customer: Customer) -> str:
    return next(iter(customer.subscriptions))


def became(c: Clawdet, customer: Customer, *statuses: str) -> None:
    """What the reconciler would have seen."""
    with c.db.begin() as session:
        instance = instances.of_user(session, customer.id)
        assert instance
        for status in statuses:
            instances.set_status(session, instance, status, clock.now())  # type: ignore[arg-type]


@pytest.fixture
def behind(c: Clawdet, paid: Customer, stripe_account: StripeAccount) -> Customer:
    """Alice's instance runs; the renewal has failed, and we know."""
    became(c, paid, "complete")
    assert stripe_account.renew(subscription_of(paid))["status"] == "past_due"
    subscriptions.apply(c, subscription_of(paid))
    return paid


@pytest.fixture
def failed_at(c: Clawdet, behind: Customer) -> datetime:
    """When we learnt of it."""
    failed_at = clock.now()
    set_past_due_since(behind, failed_at)
    return failed_at


def test_a_failed_payment_is_written_about_at_once_and_changes_nothing_else(
    behind: Customer,
) -> None:
    assert behind.desired == ["running"]
    assert behind.letters == ["payment_failed"]
    status = behind.client.get("/api/payment/status").get_json()
    assert status["standing"] == "grace"


def test_the_whole_way_from_a_failed_payment_to_the_end(
    c: Clawdet, behind: Customer, stripe_account: StripeAccount
) -> None:
    with c.db.read() as session:
        row = subscriptions.living(session, behind.id)[0]
    start = row.past_due_since
    assert start
    story: list[tuple[timedelta, str, list[str]]] = [
        (1 * DAY, "running", []),
        (GRACE - 2 * DAY, "running", ["payment_failed"]),
        (GRACE - DAY, "running", []),
        (GRACE, "suspended", ["suspended"]),
        (GRACE + SUSPENDED - DAY, "suspended", []),
        (GRACE + SUSPENDED, "deleted", ["ended"]),
        (GRACE + SUSPENDED + DAY, "deleted", []),
    ]
    letters = ["payment_failed"]
    for after, desired, more in story:
        letters += more
        for _ in range(2):  # once more changes nothing
            reconcile_billing(c, start + after)
        assert (after, behind.desired, behind.letters) == (after, [desired], letters)
    assert behind.user.paid_at is None
    states = stripe_account.subscriptions(behind.stripe_id)
    assert [one["status"] for one in states] == ["canceled"], "nothing may be charged any more"


def test_the_letters_name_the_server_the_amount_and_the_days(
    c: Clawdet, behind: Customer, failed_at: datetime
) -> None:
    reconcile_billing(c, failed_at + GRACE)
    reconcile_billing(c, failed_at + GRACE + SUSPENDED)
    with c.db.read() as session:
        written = session.scalars(select(Letter).where(Letter.user_id == behind.id)).all()
    texts = {letter.template: render(letter, c.settings).text for letter in written}
    assert set(texts) == {"payment_failed", "suspended", "ended"}
    assert all("alice.clawdet.com" in text for text in texts.values())
    assert "€19.00" in texts["payment_failed"]
    assert day(failed_at + GRACE) in texts["payment_failed"]
    assert day(failed_at + GRACE + SUSPENDED) in texts["suspended"]
    assert "http://localhost:8000/dashboard" in texts["suspended"]
    assert "http://localhost:8000/signup/pay" in texts["ended"]


def test_paying_while_suspended_brings_it_back(
    c: Clawdet, behind: Customer, failed_at: datetime, stripe_account: StripeAccount
) -> None:
    reconcile_billing(c, failed_at + GRACE)
    assert behind.desired == ["suspended"]
    stripe_account.control("card", customer=behind.stripe_id, number=GOOD)
    invoice = stripe_account.all("invoices", customer=behind.stripe_id)[0]["id"]
    stripe_account.call("POST", f"invoices/{invoice}/pay")
    subscriptions.apply(c, subscription_of(behind))
    assert behind.desired == ["running"]
    assert behind.letters[-1] == "resumed"
    assert behind.client.get("/api/payment/status").get_json()["standing"] == "running"


def test_a_payment_that_we_were_not_told_of_prevents_the_suspension(
    c: Clawdet, behind: Customer, failed_at: datetime, stripe_account: StripeAccount
) -> None:
    stripe_account.control("card", customer=behind.stripe_id, number=GOOD)
    invoice = stripe_account.all("invoices", customer=behind.stripe_id)[0]["id"]
    stripe_account.call("POST", f"invoices/{invoice}/pay")
    reconcile_billing(c, failed_at + GRACE + DAY)
    assert behind.desired == ["running"]
    assert "suspended" not in behind.letters


def test_while_stripe_is_away_nothing_is_taken_away(
    c: Clawdet, behind: Customer, failed_at: datetime, stripe_account: StripeAccount
) -> None:
    stripe_account.fail(kind="status", status=503, path="^/stripe/v1/", times=100)
    reconcile_billing(c, failed_at + GRACE)
    assert behind.desired == ["running"]
    stripe_account.mend()
    reconcile_billing(c, failed_at + GRACE)
    assert behind.desired == ["suspended"]


def test_cancelling_runs_to_the_end_of_the_period_and_then_ends(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    subscription = subscription_of(paid)
    stripe_account.call("POST", f"subscriptions/{subscription}", cancel_at_period_end="true")
    subscriptions.apply(c, subscription)
    assert paid.desired == ["running"]
    status = paid.client.get("/api/payment/status").get_json()
    assert (status["standing"], status["paid"]) == ("ending", True)
    assert paid.letters == ["cancelled"]
    stripe_account.renew(subscription)
    subscriptions.apply(c, subscription)
    assert paid.desired == ["deleted"]
    assert paid.letters == ["cancelled", "ended"]
    assert paid.user.paid_at is None


def test_a_cancellation_is_confirmed_with_the_day_until_which_it_runs(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    subscription = subscription_of(paid)
    stripe_account.call("POST", f"subscriptions/{subscription}", cancel_at_period_end="true")
    for _ in range(2):
        subscriptions.apply(c, subscription)
    with c.db.read() as session:
        (letter,) = session.scalars(select(Letter).where(Letter.user_id == paid.id))
        until = session.get_one(Subscription, subscription).current_period_end
    assert until
    written = render(letter, c.settings)
    assert written.subject == f"Cancelled: alice.clawdet.com runs until {day(until)}"
    assert day(until) in written.text
    assert "http://localhost:8000/dashboard" in written.text


def test_a_cancellation_taken_back_runs_on(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    subscription = subscription_of(paid)
    for value in ("true", "false"):
        stripe_account.call("POST", f"subscriptions/{subscription}", cancel_at_period_end=value)
        subscriptions.apply(c, subscription)
    assert paid.client.get("/api/payment/status").get_json()["standing"] == "running"


def test_an_end_that_we_were_not_told_of_is_found(
    c: Clawdet,
    paid: Customer,
    stripe_account: StripeAccount,
    handle_all: Callable[[], list[str]],
) -> None:
    subscription = subscription_of(paid)
    stripe_account.call("DELETE", f"subscriptions/{subscription}")
    reconcile_billing(c)
    handle_all()
    assert paid.desired == ["deleted"]


def test_a_subscription_without_a_word_after_its_period_is_asked_about(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    """Even if Stripe's list of events held nothing."""
    subscription = subscription_of(paid)
    stripe_account.call("DELETE", f"subscriptions/{subscription}")
    reconcile_billing(c, clock.now() + 60 * DAY)
    assert paid.subscriptions == {subscription: "canceled"}
    assert paid.desired == ["deleted"]


def test_who_comes_back_after_the_end_gets_a_new_server(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    stripe_account.call("DELETE", f"subscriptions/{subscription_of(paid)}")
    subscriptions.apply(c, subscription_of(paid))
    became(c, paid, "deleting", "deleted")
    paid.come_back(stripe_account.pay(paid.checkout()))
    assert sorted(paid.desired) == ["deleted", "running"]


def test_who_pays_while_the_old_server_is_being_deleted_gets_a_new_one_after_it(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    stripe_account.call("DELETE", f"subscriptions/{subscription_of(paid)}")
    subscriptions.apply(c, subscription_of(paid))
    became(c, paid, "deleting")
    paid.come_back(stripe_account.pay(paid.checkout()))
    assert paid.desired == ["deleted"]
    became(c, paid, "deleted")
    reconcile_billing(c)
    assert sorted(paid.desired) == ["deleted", "running"]


def test_who_pays_before_the_deletion_begins_keeps_the_server(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    stripe_account.call("DELETE", f"subscriptions/{subscription_of(paid)}")
    subscriptions.apply(c, subscription_of(paid))
    assert paid.desired == ["deleted"]
    paid.come_back(stripe_account.pay(paid.checkout()))
    assert paid.desired == ["running"]


def test_closing_an_account_ends_all_that_could_be_charged(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    for _ in range(2):  # it may be asked for again
        service.cancel_now(c, paid.user)
    states = stripe_account.subscriptions(paid.stripe_id)
    assert [one["status"] for one in states] == ["canceled"]
    assert set(paid.subscriptions.values()) == {"canceled"}


def test_closing_an_account_closes_the_open_checkout(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    url = alice.checkout()
    service.cancel_now(c, alice.user)
    assert stripe_account.look(url).status_code == 410


def test_an_instance_that_does_not_come_to_life_is_refunded_once(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    reconcile_billing(c, clock.now() + timedelta(hours=23))
    assert stripe_account.refunded_cents(paid.stripe_id) == 0
    for _ in range(2):
        reconcile_billing(c, clock.now() + timedelta(hours=25))
    assert stripe_account.refunded_cents(paid.stripe_id) == 1900
    with c.db.read() as session:
        told = select(InstanceEvent.text).where(InstanceEvent.kind == "refund")
        assert session.scalars(told).all() == ["Refunded €19.00"]
        (letter,) = session.scalars(select(Letter).where(Letter.user_id == paid.id))
    assert letter.template == "refunded"
    assert "€19.00" in render(letter, c.settings).text


def test_an_instance_that_lives_is_not_refunded(
    c: Clawdet, paid: Customer, stripe_account: StripeAccount
) -> None:
    became(c, paid, "complete")
    reconcile_billing(c, clock.now() + timedelta(hours=25))
    assert stripe_account.refunded_cents(paid.stripe_id) == 0


def test_a_payment_by_arrangement_runs_until_it_is_taken_back(c: Clawdet, alice: Customer) -> None:
    with c.db.begin() as session:
        user = session.get_one(User, alice.id)
        service.mark_paid_manually(session, c.jobs, user, "operator olga")
        service.mark_paid_manually(session, c.jobs, user, "operator olga")
    assert alice.desired == ["running"]
    assert alice.client.get("/api/payment/status").get_json()["standing"] == "manual"
    reconcile_billing(c, clock.now() + 400 * DAY)
    assert alice.desired == ["running"]
    with c.db.begin() as session:
        events = session.scalars(select(InstanceEvent).where(InstanceEvent.kind == "payment"))
        assert [one.actor for one in events] == ["operator olga"]
        user = session.get_one(User, alice.id)
        service.end_manual_payment(session, c.jobs, user, "operator olga")
    assert alice.desired == ["deleted"]


def test_who_pays_by_card_cannot_be_marked_as_paid_by_arrangement(
    c: Clawdet, paid: Customer
) -> None:
    with c.db.begin() as session, pytest.raises(Conflict):
        user = session.get_one(User, paid.id)
        service.mark_paid_manually(session, c.jobs, user, "operator olga")


def test_somebody_paid_without_an_instance_gets_one(c: Clawdet, paid: Customer) -> None:
    with c.db.begin() as session:
        session.execute(delete(InstanceEvent))
        session.execute(delete(Instance))
    reconcile_billing(c)
    assert paid.desired == ["running"]


def test_what_an_operator_has_suspended_is_not_brought_back_by_a_payment(
    paid: Customer, c: Clawdet
) -> None:
    with c.db.begin() as session:
        (instance,) = session.scalars(select(Instance).where(Instance.user_id == paid.id))
        instance.held = True
        instances.want(
            session, c.jobs, instance, actor="operator olga", why="abuse", desired="suspended"
        )
    for held, desired in ((True, "suspended"), (False, "running")):
        with c.db.begin() as session:
            session.get_one(Instance, instance.id).held = held
            user = session.get_one(User, paid.id)
            service.entitle(session, c.jobs, user, clock.now(), c.settings)
        assert paid.desired == [desired]
