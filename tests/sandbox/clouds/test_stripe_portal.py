from collections.abc import Iterator

import httpx
import pytest
import stripe as sdk

from sandbox.clouds.world import World
from tests.sandbox.clouds.stripe_steps import CARD, DECLINED, ONCE, Shop, open_shop, wrong

HOME = "http://shop.test/account"


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with open_shop(world) as shop:
        yield shop


def portal(shop: Shop, customer: str) -> str:
    asked = {"customer": customer, "return_url": HOME}
    url: str = shop.v1.billing_portal.sessions.create(asked).url
    return url


def test_the_page_shows_subscription_card_and_invoices(shop: Shop) -> None:
    subscription = shop.subscribe()
    invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
    page = httpx.get(portal(shop, subscription.customer))
    assert page.status_code == 200
    shown = " ".join(page.text.split())
    for text in (
        "ann@example.com",
        "€19.00 per month, active",
        "Visa ending in 4242, valid until",
        invoice.number,
        invoice.hosted_invoice_url,
        f'href="{HOME}"',
        "pretend Stripe",
    ):
        assert text in shown


def test_a_customer_without_anything_sees_that(shop: Shop) -> None:
    page = httpx.get(portal(shop, shop.v1.customers.create({"name": "Ann"}).id))
    assert "There is no card on file." in page.text


def test_a_new_card_pays_from_then_on(shop: Shop) -> None:
    subscription = shop.subscribe(ONCE)
    url = portal(shop, subscription.customer)
    mistakes = wrong(httpx.post(f"{url}/card", data=CARD | {"card_expiry": ""}))
    assert list(mistakes) == ["card_expiry"]
    refused = httpx.post(f"{url}/card", data=CARD | {"card_number": DECLINED})
    assert refused.status_code == 402
    assert wrong(refused) == {"card_number": "Your card was declined."}

    assert httpx.post(f"{url}/card", data=CARD | {"card_number": "5555555555554444"}).is_redirect
    assert "Mastercard ending in 4444" in httpx.get(url).text
    assert shop.advance(subscription).status == "active"


def test_a_subscription_is_cancelled_and_kept_again(shop: Shop) -> None:
    subscription = shop.subscribe()
    url = portal(shop, subscription.customer)
    change = f"{url}/subscriptions/{subscription.id}"
    page = httpx.post(change, data={"action": "cancel"}, follow_redirects=True)
    assert "Ends on" in page.text
    assert shop.v1.subscriptions.retrieve(subscription.id).cancel_at_period_end
    page = httpx.post(change, data={"action": "resume"}, follow_redirects=True)
    assert "Renews on" in page.text
    assert not shop.v1.subscriptions.retrieve(subscription.id).cancel_at_period_end
    assert shop.event_types().count("customer.subscription.updated") == 2

    httpx.post(change, data={"action": "cancel"})
    shop.advance(subscription)
    assert "Ended on" in httpx.get(url).text


def test_another_customers_subscription_is_out_of_reach(shop: Shop) -> None:
    subscription = shop.subscribe()
    url = portal(shop, shop.v1.customers.create({"name": "Eve"}).id)
    answer = httpx.post(f"{url}/subscriptions/{subscription.id}", data={"action": "cancel"})
    assert answer.status_code == 404
    assert not shop.v1.subscriptions.retrieve(subscription.id).cancel_at_period_end
    assert httpx.get(f"{shop.url}/portal/bps_none").status_code == 404


def test_a_session_needs_a_customer_and_a_web_address(shop: Shop) -> None:
    with pytest.raises(sdk.InvalidRequestError, match="No such customer"):
        portal(shop, "cus_none")
    customer = shop.v1.customers.create({}).id
    with pytest.raises(sdk.InvalidRequestError, match="Not a valid URL"):
        asked = {"customer": customer, "return_url": "javascript:alert(1)"}
        shop.v1.billing_portal.sessions.create(asked)
