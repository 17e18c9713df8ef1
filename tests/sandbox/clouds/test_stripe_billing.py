from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stripe as sdk

from sandbox.clouds.world import World
from tests.sandbox.clouds.stripe_steps import CARD, DECLINED, GOOD, ONCE, Shop, open_shop, wrong

DAY_S = 86_400


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with open_shop(world) as shop:
        yield shop


def behind(shop: Shop) -> Any:
    """A subscription whose renewal has just failed."""
    subscription = shop.advance(shop.subscribe(ONCE))
    assert subscription.status == "past_due"
    return subscription


def period(subscription: Any) -> tuple[int, int]:
    item = subscription["items"].data[0]
    return item.current_period_start, item.current_period_end


def intent_of(shop: Shop, subscription: Any) -> str:
    payments = shop.v1.invoice_payments.list({"invoice": subscription.latest_invoice}).data
    intent: str = payments[0].payment.payment_intent
    return intent


def test_a_period_that_ends_is_followed_by_a_paid_one(shop: Shop) -> None:
    subscription = shop.subscribe()
    renewed = shop.advance(subscription)
    assert renewed.status == "active"
    starts, ends = period(renewed)
    assert starts <= period(subscription)[0] + 2 * DAY_S
    assert 28 * DAY_S <= ends - starts <= 31 * DAY_S
    listed = shop.v1.invoices.list({"subscription": subscription.id}).data
    assert [one.billing_reason for one in listed] == ["subscription_cycle", "subscription_create"]
    assert [one.status for one in listed] == ["paid", "paid"]
    assert listed[0].period_end == starts
    assert listed[0].lines.data[0].period.end == ends
    types = shop.event_types()[-10:]
    for type_ in ("customer.subscription.updated", "invoice.created", "invoice.paid"):
        assert type_ in types


def test_time_short_of_the_periods_end_only_moves_the_dates(shop: Shop) -> None:
    subscription = shop.subscribe()
    later = shop.advance(subscription, seconds=10 * DAY_S)
    assert later.latest_invoice == subscription.latest_invoice
    assert period(later) == tuple(moment - 10 * DAY_S for moment in period(subscription))
    assert shop.event_types()[-1] == "customer.subscription.updated"


def test_a_renewal_that_fails_leaves_the_subscription_past_due(shop: Shop) -> None:
    subscription = behind(shop)
    invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
    assert (invoice.status, invoice.attempted, invoice.attempt_count) == ("open", True, 1)
    assert (invoice.amount_due, invoice.amount_remaining) == (1900, 1900)
    assert invoice.next_payment_attempt > invoice.created
    intent = shop.v1.payment_intents.retrieve(intent_of(shop, subscription))
    assert intent.last_payment_error.decline_code == "generic_decline"
    types = shop.event_types()
    assert "invoice.payment_failed" in types
    assert types[-1] == "customer.subscription.updated"
    assert [one.id for one in shop.v1.subscriptions.list({"status": "past_due"}).data] == [
        subscription.id
    ]


def test_a_failed_payment_is_tried_again_with_time_and_then_left(shop: Shop) -> None:
    subscription = behind(shop)
    for tried in (2, 3, 4):
        shop.advance(subscription, seconds=7 * DAY_S)
        invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
        assert invoice.attempt_count == tried
    assert invoice.next_payment_attempt is None
    assert shop.advance(subscription, seconds=DAY_S).status == "past_due"


def test_paying_with_another_card_makes_it_active_again(shop: Shop) -> None:
    subscription = behind(shop)
    for _ in range(2):  # a refused card is an answer like others: the same key, the same answer
        with pytest.raises(sdk.CardError) as caught:
            shop.v1.invoices.pay(subscription.latest_invoice, {}, {"idempotency_key": "pay-1"})
        assert (caught.value.http_status, caught.value.code) == (402, "card_declined")
        assert caught.value.error is not None
        assert caught.value.error.decline_code == "generic_decline"
    assert shop.v1.invoices.retrieve(subscription.latest_invoice).attempt_count == 2

    assert shop.control("card", customer=subscription.customer, number=GOOD).status_code == 200
    assert shop.v1.invoices.pay(subscription.latest_invoice).status == "paid"
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"
    with pytest.raises(sdk.InvalidRequestError, match="already paid"):
        shop.v1.invoices.pay(subscription.latest_invoice)


def test_an_invoice_can_be_taken_as_paid_or_voided(shop: Shop) -> None:
    subscription = behind(shop)
    paid = shop.v1.invoices.pay(subscription.latest_invoice, {"paid_out_of_band": True})
    assert paid.status == "paid"
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"
    again = shop.advance(subscription)
    assert again.status == "past_due"
    assert shop.v1.invoices.void_invoice(again.latest_invoice).status == "void"
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_an_open_invoice_is_paid_on_its_page(shop: Shop) -> None:
    subscription = behind(shop)
    url = shop.v1.invoices.retrieve(subscription.latest_invoice).hosted_invoice_url
    assert "Pay €19.00" in httpx.get(url).text
    assert list(wrong(httpx.post(url, data=CARD | {"card_cvc": ""}))) == ["card_cvc"]
    refused = httpx.post(url, data=CARD | {"card_number": DECLINED})
    assert (refused.status_code, list(wrong(refused))) == (402, ["card_number"])
    assert httpx.post(url, data=CARD).status_code == 303
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert "Pay €19.00" not in httpx.get(url).text
    assert shop.advance(subscription).status == "active"


def test_an_invoice_comes_as_pdf(shop: Shop) -> None:
    invoice = shop.v1.invoices.retrieve(shop.subscribe().latest_invoice)
    answer = httpx.get(invoice.invoice_pdf)
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    assert invoice.number.encode() in answer.content
    assert "€19.00".encode("cp1252") in answer.content


def test_a_subscription_cancelled_for_the_periods_end_runs_until_then(shop: Shop) -> None:
    subscription = shop.subscribe()
    asked = {"cancel_at_period_end": True, "cancellation_details": {"feedback": "unused"}}
    leaving = shop.v1.subscriptions.update(subscription.id, asked)
    assert (leaving.status, leaving.cancel_at) == ("active", period(subscription)[1])
    assert leaving.cancellation_details.reason == "cancellation_requested"
    assert shop.advance(subscription, seconds=DAY_S).status == "active"
    ended = shop.advance(subscription)
    assert (ended.status, ended.cancellation_details.feedback) == ("canceled", "unused")
    assert ended.ended_at
    assert len(shop.v1.invoices.list({"subscription": subscription.id}).data) == 1
    assert shop.event_types()[-1] == "customer.subscription.deleted"
    assert shop.v1.subscriptions.list({"customer": subscription.customer}).data == []
    everything = shop.v1.subscriptions.list({"customer": subscription.customer, "status": "all"})
    assert [one.id for one in everything.data] == [subscription.id]


def test_a_cancellation_can_be_taken_back(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    kept = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (kept.cancel_at_period_end, kept.cancel_at, kept.canceled_at) == (False, None, None)
    assert shop.advance(subscription).status == "active"


def test_a_subscription_cancelled_at_once_is_over(shop: Shop) -> None:
    subscription = behind(shop)
    ended = shop.v1.subscriptions.cancel(subscription.id)
    assert ended.status == "canceled"
    invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
    assert (invoice.status, invoice.next_payment_attempt) == ("open", None)
    with pytest.raises(sdk.InvalidRequestError) as caught:
        shop.v1.subscriptions.cancel(subscription.id)
    assert caught.value.http_status == 404
    with pytest.raises(sdk.InvalidRequestError, match="can only update"):
        shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert shop.v1.subscriptions.update(subscription.id, {"metadata": {"a": "b"}}).metadata.a == "b"
    assert shop.control("advance", subscription=subscription.id, to="period_end").status_code == 400


def test_a_deleted_customer_takes_the_subscription_along(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.v1.customers.delete(subscription.customer)
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    told = shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["customer"]})
    assert told.customer.deleted


def test_what_a_subscription_costs_can_change_for_its_next_period(shop: Shop) -> None:
    subscription = shop.subscribe()
    item = subscription["items"].data[0]
    shop.v1.subscriptions.update(subscription.id, {"items": [{"id": item.id, "quantity": 2}]})
    renewed = shop.advance(subscription)
    assert shop.v1.invoices.retrieve(renewed.latest_invoice).amount_paid == 3800


def test_a_payment_is_refunded_in_parts_and_never_twice(shop: Shop) -> None:
    intent = intent_of(shop, shop.subscribe())
    asked = {"payment_intent": intent, "amount": 900, "reason": "requested_by_customer"}
    part = shop.v1.refunds.create(asked)
    assert (part.status, part.amount, part.currency) == ("succeeded", 900, "eur")
    with pytest.raises(sdk.InvalidRequestError, match="greater than unrefunded amount"):
        shop.v1.refunds.create({"payment_intent": intent, "amount": 1001})
    rest = shop.v1.refunds.create({"charge": part.charge})
    assert rest.amount == 1000
    with pytest.raises(sdk.InvalidRequestError) as caught:
        shop.v1.refunds.create({"payment_intent": intent})
    assert caught.value.code == "charge_already_refunded"
    charge = shop.v1.charges.retrieve(part.charge, {"expand": ["refunds"]})
    assert (charge.refunded, charge.amount_refunded) == (True, 1900)
    assert [one.id for one in charge.refunds.data] == [rest.id, part.id]
    assert [one.id for one in shop.v1.refunds.list({"payment_intent": intent}).data] == [
        rest.id,
        part.id,
    ]
    assert shop.event_types().count("charge.refunded") == 2


def test_nothing_that_was_not_paid_is_refunded(shop: Shop) -> None:
    intent = intent_of(shop, behind(shop))
    for asked in ({"payment_intent": intent}, {}, {"charge": "ch_none"}):
        with pytest.raises(sdk.InvalidRequestError):
            shop.v1.refunds.create(asked)


def test_a_discount_for_some_months_ends_with_them(shop: Shop) -> None:
    coupon = shop.v1.coupons.create(
        {"percent_off": 10, "duration": "repeating", "duration_in_months": 2}
    )
    subscription = shop.subscribe(discounts=[{"coupon": coupon.id}])
    totals = [shop.v1.invoices.retrieve(subscription.latest_invoice).total]
    for _ in range(2):
        renewed = shop.advance(subscription)
        totals.append(shop.v1.invoices.retrieve(renewed.latest_invoice).total)
    assert totals == [1710, 1710, 1900]


def test_cards_on_file_are_listed_and_detached(shop: Shop) -> None:
    subscription = shop.subscribe()
    (method,) = shop.v1.payment_methods.list({"customer": subscription.customer}).data
    assert (method.type, method.card.brand) == ("card", "visa")
    assert shop.v1.payment_methods.detach(method.id).customer is None
    renewed = shop.advance(subscription)
    assert renewed.status == "past_due"
    with pytest.raises(sdk.InvalidRequestError, match="no attached payment source"):
        shop.v1.invoices.pay(renewed.latest_invoice)
