from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stripe as sdk

from sandbox.clouds.world import World
from tests.sandbox.clouds.stripe_steps import (
    ASKING,
    DECLINED,
    GOOD,
    ONCE,
    POOR,
    PRICE,
    Shop,
    open_shop,
    pay,
    wrong,
)

DAY_S = 86_400


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with open_shop(world) as shop:
        yield shop


def nothing_was_made(shop: Shop) -> bool:
    made = (shop.v1.customers, shop.v1.subscriptions, shop.v1.invoices)
    return not any(kind.list().data for kind in made)


def test_paying_makes_everything_that_belongs_to_a_subscription(shop: Shop) -> None:
    session = shop.session(
        client_reference_id="user-7",
        metadata={"plan": "monthly"},
        subscription_data={"metadata": {"slug": "ann"}},
    )
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert (session.amount_total, session.currency) == (1900, "eur")

    answer = pay(session.url)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://shop.test/done?session={session.id}"

    done = shop.again(session, "customer", "subscription.latest_invoice.payments", "line_items")
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert (done.client_reference_id, done.metadata.plan) == ("user-7", "monthly")
    assert done.customer.email == done.customer_details.email == "ann@example.com"
    assert done.line_items.data[0].price.id == PRICE

    subscription = done.subscription
    assert (subscription.status, subscription.metadata.slug) == ("active", "ann")
    item = subscription["items"].data[0]
    assert 28 * DAY_S <= item.current_period_end - item.current_period_start <= 31 * DAY_S

    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.total, invoice.amount_paid) == ("paid", 1900, 1900)
    assert invoice.billing_reason == "subscription_create"
    assert invoice.parent.subscription_details.subscription == subscription.id
    intent_id = invoice.payments.data[0].payment.payment_intent
    expand = {"expand": ["latest_charge", "payment_method"]}
    intent = shop.v1.payment_intents.retrieve(intent_id, expand)
    assert (intent.status, intent.amount_received) == ("succeeded", 1900)
    assert intent.latest_charge.paid
    assert intent.payment_method.card.last4 == "4242"
    assert intent.payment_method.id == subscription.default_payment_method


def test_the_page_says_what_is_bought_and_that_it_is_not_real(shop: Shop) -> None:
    session = shop.session(allow_promotion_codes=True)
    page = httpx.get(session.url)
    assert page.status_code == 200
    for text in ("Clawdet", "€19.00", "EUR, per month", "pretend Stripe", "Promotion code"):
        assert text in page.text
    assert 'href="http://shop.test/plans"' in page.text
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("number", "field", "message"),
    [
        (DECLINED, "card_number", "Your card was declined."),
        (POOR, "card_number", "Your card has insufficient funds."),
        ("4000000000000069", "card_expiry", "Your card has expired."),
        ("4000000000000127", "card_cvc", "Your card's security code is incorrect."),
        ("4111111111111111", "card_number", "Your card was declined. Your request was in test"),
    ],
)
def test_a_refused_card_is_told_beside_its_field_and_another_may_pay(
    shop: Shop, number: str, field: str, message: str
) -> None:
    session = shop.session()
    answer = pay(session.url, number)
    assert answer.status_code == 402
    mistakes = wrong(answer)
    assert list(mistakes) == [field]
    assert mistakes[field].startswith(message)
    assert 'value="ann@example.com"' in answer.text
    assert nothing_was_made(shop)
    assert shop.again(session).status == "open"
    (intent,) = shop.v1.payment_intents.list().data
    assert intent.status == "requires_payment_method"
    assert intent.last_payment_error.message.startswith(message)

    assert pay(session.url, GOOD).status_code == 303
    assert shop.again(session).payment_status == "paid"


@pytest.mark.parametrize(
    ("fields", "mistakes"),
    [
        ({"email": "ann"}, {"email": "Enter your e-mail address, such as you@example.com."}),
        ({"card_number": ""}, {"card_number": "Enter your card number."}),
        ({"card_number": "4242 4242 4242 4241"}, {"card_number": "Your card number is invalid."}),
        ({"card_expiry": "soon"}, {"card_expiry": "Enter the expiry date as MM / YY."}),
        ({"card_expiry": "13/40"}, {"card_expiry": "The month must be between 01 and 12."}),
        ({"card_expiry": "01/20"}, {"card_expiry": "Your card's expiration date is in the past."}),
        ({"card_cvc": "12"}, {"card_cvc": "Enter the 3 digits of the security code."}),
        (
            {"card_number": "378282246310005"},
            {"card_cvc": "Enter the 4 digits of the security code."},
        ),
        (
            {"email": "", "card_number": "x", "card_expiry": "", "card_cvc": ""},
            {
                "email": "Enter your e-mail address, such as you@example.com.",
                "card_number": "Your card number is invalid.",
                "card_expiry": "Enter the expiry date as MM / YY.",
                "card_cvc": "Enter the 3 digits of the security code.",
            },
        ),
    ],
)
def test_what_is_typed_wrong_is_told_beside_its_field(
    shop: Shop, fields: dict[str, str], mistakes: dict[str, str]
) -> None:
    answer = pay(shop.session().url, **fields)
    assert answer.status_code == 400
    assert wrong(answer) == mistakes
    assert nothing_was_made(shop)


def test_a_card_that_asks_first_pays_when_the_customer_confirms(shop: Shop) -> None:
    session = shop.session()
    sent = pay(session.url, ASKING)
    assert sent.status_code == 303
    bank = str(httpx.URL(session.url).join(sent.headers["location"]))
    page = httpx.get(bank)
    assert "Complete authentication" in page.text
    assert "Fail authentication" in page.text
    assert nothing_was_made(shop)

    failed = httpx.post(bank, data={"answer": "fail"})
    assert failed.status_code == 402
    assert wrong(failed)["card_number"].startswith("We are unable to authenticate")
    assert nothing_was_made(shop)
    assert httpx.post(bank, data={"answer": "complete"}).headers["location"] in session.url

    pay(session.url, ASKING)
    done = httpx.post(bank, data={"answer": "complete"})
    assert done.headers["location"].startswith("http://shop.test/done")
    assert shop.again(session).payment_status == "paid"


def test_a_card_that_works_once_starts_the_subscription(shop: Shop) -> None:
    assert shop.subscribe(ONCE).status == "active"


def test_pressing_pay_twice_pays_once(shop: Shop) -> None:
    session = shop.session()
    assert pay(session.url).headers["location"] == pay(session.url).headers["location"]
    assert len(shop.v1.subscriptions.list().data) == 1
    page = httpx.get(session.url)
    assert page.status_code == 200
    assert "paid already" in page.text


def test_an_address_that_the_shop_knows_is_shown_and_stays(shop: Shop) -> None:
    session = shop.session(customer_email="shop@example.com")
    assert 'value="shop@example.com"' in httpx.get(session.url).text
    pay(session.url, email="other@example.com")
    assert shop.again(session, "customer").customer.email == "shop@example.com"


def test_a_customer_who_exists_is_not_made_again(shop: Shop) -> None:
    known = shop.v1.customers.create({"email": "known@example.com", "metadata": {"user": "7"}})
    session = shop.session(customer=known.id)
    assert pay(session.url, email="").status_code == 303
    assert shop.again(session).customer == known.id
    (only,) = shop.v1.customers.list().data
    assert (only.id, only.metadata.user, only.currency) == (known.id, "7", "eur")
    listed = shop.v1.checkout.sessions.list({"customer": known.id})
    assert [one.id for one in listed.data] == [session.id]


def test_what_a_known_customer_types_is_kept_only_where_the_shop_allows_it(shop: Shop) -> None:
    known = shop.v1.customers.create({"email": "known@example.com", "name": "Ann"})
    wants: dict[str, Any] = {"customer": known.id, "billing_address_collection": "required"}
    for extra in ({"automatic_tax": {"enabled": True}}, {"tax_id_collection": {"enabled": True}}):
        with pytest.raises(sdk.InvalidRequestError, match="customer_update"):
            shop.session(**wants, **extra)
    session = shop.session(
        **wants, automatic_tax={"enabled": True}, customer_update={"address": "auto"}
    )
    home = {"line1": "Hauptstr. 1", "postal_code": "10115", "city": "Berlin", "country": "DE"}
    assert pay(session.url, name="Eve", **home).status_code == 303
    kept = shop.v1.customers.retrieve(known.id)
    assert (kept.name, kept.address.city) == ("Ann", "Berlin")


def test_a_promotion_code_halves_the_first_invoice_only(shop: Shop) -> None:
    session = shop.session(allow_promotion_codes=True)
    applied = httpx.post(
        f"{session.url}/promotion",
        data={"promotion_code": "welcome50", "action": "apply"},
        follow_redirects=True,
    )
    for text in ("WELCOME50 applied", "−€9.50", "Pay €9.50"):  # noqa: RUF001
        assert text in applied.text
    pay(session.url)
    done = shop.again(session, "subscription.latest_invoice", "discounts.promotion_code")
    assert (done.amount_subtotal, done.amount_total) == (1900, 950)
    assert done.total_details.amount_discount == 950
    assert done.discounts[0].promotion_code.code == "WELCOME50"
    first = done.subscription.latest_invoice
    assert (first.subtotal, first.total, first.amount_paid) == (1900, 950, 950)

    renewed = shop.advance(done.subscription)
    assert shop.v1.invoices.retrieve(renewed.latest_invoice).total == 1900
    assert shop.v1.coupons.retrieve("WELCOME50").times_redeemed == 1


def test_a_code_that_is_wrong_is_refused_and_one_can_be_taken_back(shop: Shop) -> None:
    session = shop.session(allow_promotion_codes=True)
    answer = httpx.post(f"{session.url}/promotion", data={"promotion_code": "FREE"})
    assert (answer.status_code, wrong(answer)) == (400, {"promotion_code": "This code is invalid."})
    httpx.post(f"{session.url}/promotion", data={"promotion_code": "WELCOME50"})
    assert shop.again(session).amount_total == 950
    httpx.post(f"{session.url}/promotion", data={"action": "remove"})
    assert shop.again(session).amount_total == 1900


def test_codes_are_taken_only_where_the_shop_allows_them(shop: Shop) -> None:
    session = shop.session()
    assert "Promotion code" not in httpx.get(session.url).text
    answer = httpx.post(f"{session.url}/promotion", data={"promotion_code": "WELCOME50"})
    assert answer.status_code == 404


def test_a_code_that_was_switched_off_or_used_up_is_invalid(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"amount_off": 500, "currency": "eur", "duration": "once"})
    asked = {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FIVE"}
    code = shop.v1.promotion_codes.create(asked | {"max_redemptions": 1})
    first = shop.session(allow_promotion_codes=True)
    httpx.post(f"{first.url}/promotion", data={"promotion_code": "FIVE"})
    pay(first.url)
    assert shop.again(first).amount_total == 1400
    second = shop.session(allow_promotion_codes=True)
    answer = httpx.post(f"{second.url}/promotion", data={"promotion_code": "FIVE"})
    assert wrong(answer) == {"promotion_code": "This code is invalid."}

    shop.v1.promotion_codes.update(code.id, {"active": False})
    assert shop.v1.promotion_codes.list({"code": "FIVE", "active": True}).data == []


def test_a_session_that_costs_nothing_today_needs_no_payment(shop: Shop) -> None:
    free = shop.v1.coupons.create({"percent_off": 100, "duration": "once"})
    session = shop.session(discounts=[{"coupon": free.id}])
    assert pay(session.url).status_code == 303
    done = shop.again(session, "invoice.payments")
    assert (done.payment_status, done.amount_total) == ("no_payment_required", 0)
    assert (done.invoice.status, done.invoice.payments.data) == ("paid", [])
    assert shop.v1.payment_intents.list().data == []


def test_an_address_is_asked_for_when_the_shop_wants_it(shop: Shop) -> None:
    session = shop.session(
        billing_address_collection="required",
        tax_id_collection={"enabled": True},
        automatic_tax={"enabled": True},
    )
    assert "VAT number" in httpx.get(session.url).text
    assert set(wrong(pay(session.url))) == {"line1", "postal_code", "city", "country"}
    home = {"line1": "Hauptstr. 1", "postal_code": "10115", "city": "Berlin", "country": "DE"}
    assert pay(session.url, **home, tax_id="DE123456789").status_code == 303
    details = shop.again(session, "customer").customer_details
    assert (details.address.city, details.tax_ids[0].value) == ("Berlin", "DE123456789")


def test_an_expired_session_cannot_be_paid(shop: Shop) -> None:
    session = shop.session()
    assert shop.v1.checkout.sessions.expire(session.id).status == "expired"
    answer = pay(session.url)
    assert answer.status_code == 410
    assert "http://shop.test/plans" in answer.text
    assert nothing_was_made(shop)
    assert shop.event_types() == ["checkout.session.expired"]
    with pytest.raises(sdk.InvalidRequestError, match="status of expired"):
        shop.v1.checkout.sessions.expire(session.id)


def test_a_session_expires_when_its_time_is_over(shop: Shop) -> None:
    session = shop.session()
    assert shop.control("advance", checkout_session=session.id, seconds=DAY_S).status_code == 200
    assert shop.again(session).status == "expired"
    assert httpx.get(session.url).status_code == 410


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"mode": "gift"}, "mode", None),
        ({"line_items": []}, "line_items", "parameter_missing"),
        ({"line_items": [{"price": "price_none"}]}, "line_items[0][price]", "resource_missing"),
        (
            {"line_items": [{"price": PRICE, "quantity": "many"}]},
            "line_items[0][quantity]",
            "parameter_invalid_integer",
        ),
        ({"success_url": "shop"}, "success_url", "url_invalid"),
        ({"customer": "cus_none"}, "customer", "resource_missing"),
        ({"customer_email": "ann"}, "customer_email", "email_invalid"),
        ({"expires_at": 1}, "expires_at", None),
        ({"colour": "red"}, "colour", "parameter_unknown"),
    ],
)
def test_an_invalid_session_is_refused_with_the_parameters_name(
    shop: Shop, changes: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(sdk.InvalidRequestError) as caught:
        shop.session(**changes)
    error: Any = caught.value
    assert (error.http_status, error.param, error.code) == (400, param, code)


def test_a_page_of_no_session_is_not_found(shop: Shop) -> None:
    assert httpx.get(f"{shop.url}/checkout/cs_test_none").status_code == 404
