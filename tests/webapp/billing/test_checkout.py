"""From the plan page to Stripe and back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from tests.webapp.billing.conftest import Customer, jobs_named
from tests.webapp.billing.stripe_account import ASKS_THE_BANK, DECLINED, StripeAccount
from tests.webapp.conftest import SignInAs, csrf
from webapp import clock
from webapp.accounts.models import User
from webapp.billing import service
from webapp.billing.models import Checkout
from webapp.http.context import Clawdet
from webapp.instances import capacity


def api(customer: Customer, path: str) -> dict[str, str]:
    token = csrf(customer.client, "/signup/cancelled")
    answer = customer.client.post(f"/api/payment/{path}", headers={"X-CSRFToken": token})
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.get_json()
    return found


def checkouts(c: Clawdet) -> int:
    with c.db.read() as session:
        return session.scalar(select(func.count()).select_from(Checkout)) or 0


def test_the_plan_page_shows_the_price_with_currency_and_period(alice: Customer) -> None:
    page = alice.client.get("/signup/pay").text
    assert "€19.00" in page
    assert "a&nbsp;month" in page
    assert 'aria-current="step">Pay' in page


def test_nobody_pays_without_signing_in(client: FlaskClient) -> None:
    assert client.get("/signup/pay").status_code == 302
    token = csrf(client, "/signup/cancelled")
    answer = client.post("/api/payment/checkout", headers={"X-CSRFToken": token})
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"


def test_a_checkout_needs_the_token_of_our_own_page(alice: Customer) -> None:
    assert alice.client.post("/signup/pay").status_code == 400
    assert alice.client.post("/api/payment/checkout").status_code == 400


def test_details_come_before_the_payment(client: FlaskClient, sign_in: SignInAs) -> None:
    sign_in(client, "bob")
    answer = client.get("/signup/pay")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/signup/details")


def test_the_address_must_be_confirmed_before_the_payment(c: Clawdet, alice: Customer) -> None:
    with c.db.begin() as session:
        session.get_one(User, alice.id).email_verified_at = None
    page = alice.client.get("/signup/pay")
    assert "not confirmed yet" in page.text
    token = csrf(alice.client, "/signup/cancelled")
    assert alice.client.post("/signup/pay", data={"csrf_token": token}).status_code == 409
    assert checkouts(c) == 0


def test_a_payment_makes_an_instance_before_any_webhook(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    page = alice.come_back(stripe_account.pay(alice.checkout()))
    assert "Paid. Thank you." in page.text
    assert "url=/provisioning" in page.text
    assert alice.desired == ["running"]
    assert len(jobs_named(c, "reconcile-")) == 1
    assert (alice.user.payment_method, alice.user.paid_at is not None) == ("stripe", True)


def test_coming_back_twice_makes_one_instance(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    answer = stripe_account.pay(alice.checkout())
    alice.come_back(answer)
    alice.come_back(answer)
    assert alice.desired == ["running"]
    assert len(jobs_named(c, "reconcile-")) == 1


def test_the_way_back_needs_no_session(
    alice: Customer, client: FlaskClient, stripe_account: StripeAccount
) -> None:
    answer = stripe_account.pay(alice.checkout())
    page = client.get(answer.headers["Location"].partition("localhost:8000")[2])
    assert "Paid. Thank you." in page.text
    assert "alice" not in page.text
    assert alice.desired == ["running"]


def test_a_declined_card_pays_nothing_and_another_one_can_be_tried(
    alice: Customer, stripe_account: StripeAccount
) -> None:
    url = alice.checkout()
    assert "declined" in stripe_account.pay(url, DECLINED).text
    assert alice.instances == []
    alice.come_back(stripe_account.pay(url))
    assert alice.desired == ["running"]


@pytest.mark.parametrize(("answer", "desired"), [("complete", ["running"]), ("fail", [])])
def test_a_card_whose_bank_asks_pays_when_it_agrees(
    alice: Customer, stripe_account: StripeAccount, answer: str, desired: list[str]
) -> None:
    asked = stripe_account.pay(alice.checkout(), ASKS_THE_BANK)
    assert asked.status_code == 303
    done = stripe_account.answer_the_bank(asked.headers["Location"], answer)
    if desired:
        alice.come_back(done)
    assert alice.desired == desired


def test_leaving_stripe_says_that_nothing_was_charged(alice: Customer) -> None:
    assert "Nothing was charged" in alice.client.get("/signup/cancelled").text


def test_coming_back_without_having_paid_is_no_success(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    alice.checkout()
    with c.db.read() as session:
        session_id = session.scalar(select(Checkout.stripe_session_id))
    answer = alice.client.get(f"/signup/success?session_id={session_id}")
    assert answer.headers["Location"] == "/signup/cancelled"
    assert alice.instances == []


def test_two_tabs_lead_to_one_page_and_one_subscription(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    first, second = alice.checkout(), alice.checkout()
    assert first == second
    stripe_account.pay(first)
    alice.come_back(stripe_account.pay(second))
    assert len(stripe_account.subscriptions(alice.stripe_id)) == 1
    assert checkouts(c) == 1


def test_two_tabs_at_the_same_moment_lead_to_one_page(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    user = alice.user
    with ThreadPoolExecutor(6) as pool:
        urls = list(pool.map(lambda _: service.start_checkout(c, user), range(6)))
    assert len(set(urls)) == 1
    assert checkouts(c) == 1
    assert len(stripe_account.all("checkout/sessions", customer=alice.stripe_id)) == 1


def test_an_expired_page_is_followed_by_a_new_one(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    first = alice.checkout()
    with c.db.begin() as session:
        session.scalars(select(Checkout)).one().expires_at = clock.now()
    assert alice.checkout() != first


def test_who_pays_already_is_led_to_the_dashboard(paid: Customer) -> None:
    assert paid.client.get("/signup/pay").headers["Location"] == "/dashboard"
    token = csrf(paid.client, "/signup/cancelled")
    answer = paid.client.post("/signup/pay", data={"csrf_token": token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dashboard")
    refused = paid.client.post("/api/payment/checkout", headers={"X-CSRFToken": token})
    assert refused.status_code == 409
    assert refused.get_json()["code"] == "already_paying"


def test_nothing_is_sold_when_there_is_no_server_to_be_had(c: Clawdet, alice: Customer) -> None:
    token = csrf(alice.client, "/signup/cancelled")
    with c.db.begin() as session:
        capacity.say(session, False, clock.now())
    assert "servers are taken" in alice.client.get("/signup/pay").text
    assert alice.client.post("/signup/pay", data={"csrf_token": token}).status_code == 409
    with c.db.begin() as session:
        capacity.say(session, False, clock.now() - timedelta(days=1))
    assert alice.client.post("/signup/pay", data={"csrf_token": token}).status_code == 303


@pytest.mark.parametrize("kind", ["status", "lost_response"])
def test_a_stumbling_stripe_costs_neither_a_second_page_nor_the_way(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount, kind: str
) -> None:
    how = {"kind": kind} | ({"status": 503} if kind == "status" else {})
    stripe_account.fail(method="POST", path="/checkout/sessions$", times=1, **how)
    assert alice.checkout()
    assert len(stripe_account.all("checkout/sessions", customer=alice.stripe_id)) == 1


def test_while_stripe_is_away_the_plan_page_says_so_and_the_next_try_goes_on(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    token = csrf(alice.client, "/signup/pay")
    stripe_account.fail(kind="status", status=503, path="^/stripe/v1/", times=100)
    answer = alice.client.post("/signup/pay", data={"csrf_token": token})
    assert answer.status_code == 503
    assert "Stripe is not answering" in answer.text
    stripe_account.mend()
    assert alice.checkout()
    assert checkouts(c) == 1


def test_while_stripe_is_away_coming_back_waits(
    alice: Customer, stripe_account: StripeAccount
) -> None:
    answer = stripe_account.pay(alice.checkout())
    stripe_account.fail(kind="status", status=503, path="^/stripe/v1/", times=100)
    page = alice.come_back(answer)
    assert "Still processing" in page.text
    assert 'http-equiv="refresh"' in page.text
    stripe_account.mend()
    assert "Paid. Thank you." in alice.come_back(answer).text


@pytest.mark.parametrize("query", ["", "?session_id=", "?session_id=cs_nothing"])
def test_an_unknown_payment_is_not_found(client: FlaskClient, query: str) -> None:
    assert client.get(f"/signup/success{query}").status_code == 404


def test_the_api_gives_the_same_page(alice: Customer) -> None:
    assert api(alice, "checkout")["url"] == alice.checkout()


def test_the_api_says_how_the_plan_stands(alice: Customer, stripe_account: StripeAccount) -> None:
    before = alice.client.get("/api/payment/status").get_json()
    assert (before["paid"], before["standing"]) == (False, "none")
    alice.come_back(stripe_account.pay(alice.checkout()))
    after = alice.client.get("/api/payment/status").get_json()
    assert (after["paid"], after["standing"]) == (True, "running")
    assert (after["amountCents"], after["currency"], after["period"]) == (1900, "eur", "month")
    assert after["words"].startswith("Paid. Renews on ")


def test_the_portal_leads_to_stripe_and_back(paid: Customer, stripe_account: StripeAccount) -> None:
    token = csrf(paid.client, "/signup/cancelled")
    answer = paid.client.post("/billing/portal", data={"csrf_token": token})
    assert answer.status_code == 303
    assert "/portal/" in answer.headers["Location"]
    assert "/billing/back" in stripe_account.look(answer.headers["Location"]).text
    assert "url=/dashboard" in paid.client.get("/billing/back").text
    assert "/portal/" in api(paid, "portal")["url"]


def test_without_a_payment_there_is_no_portal(alice: Customer) -> None:
    token = csrf(alice.client, "/signup/cancelled")
    answer = alice.client.post("/billing/portal", data={"csrf_token": token})
    assert answer.status_code == 409


def test_bills_are_listed(c: Clawdet, paid: Customer) -> None:
    bills = service.invoices(c, paid.user)
    assert [(bill.amount_cents, bill.currency, bill.status) for bill in bills] == [
        (1900, "eur", "paid")
    ]
    assert bills[0].url
    assert bills[0].pdf_url


def test_each_customer_has_a_page_of_their_own(
    make_customer: Callable[[str], Customer], alice: Customer
) -> None:
    assert make_customer("bob").checkout() != alice.checkout()


def test_while_stripe_is_away_pages_do_without_the_price(
    alice: Customer, stripe_account: StripeAccount
) -> None:
    stripe_account.fail(kind="status", status=503, path="^/stripe/v1/prices", times=1)
    for _ in range(2):
        page = alice.client.get("/signup/pay")
        assert (page.status_code, "€" in page.text) == (200, False)
        assert "Stripe shows it before you pay" in page.text


def test_two_pages_of_the_plan_ask_stripe_once(
    alice: Customer, stripe_account: StripeAccount
) -> None:
    before = stripe_account.last_request()
    for _ in range(3):
        assert "€19.00" in alice.client.get("/signup/pay").text
    assert len(stripe_account.requests_since(before)) <= 1
