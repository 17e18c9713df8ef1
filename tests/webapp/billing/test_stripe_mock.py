"""Every request of ours against Stripe's own OpenAPI description, by stripe-mock.

Its newest release describes the API of 2026-08-26; the `stripe` package pins that of 2026-10-28.
Every parameter of ours is in the older one, so none is left out here. What the newer one has
dropped would not be noticed here: the package's types tell, where mypy sees them. Nor are the
names in `expand` checked, which stripe-mock does not look at.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import stripe

from local import webhooks as local_webhooks
from tests.webapp.billing import stripe_mock
from tests.webapp.billing.stripe_mock import NotBuilt, StripeMock
from webapp.adapters.payments import Payments
from webapp.adapters.stripe_objects import Order
from webapp.billing.webhooks import TYPES
from webapp.settings import WebSettings

ORDER = Order(
    checkout_id="7f0e6a",
    user_id="41c2d9",
    customer_id="cus_1",
    success_url="http://localhost:8000/signup/paid?session_id={CHECKOUT_SESSION_ID}",
    cancel_url="http://localhost:8000/signup/pay",
)
A_DAY = timedelta(days=1)

CALLS: dict[str, tuple[Callable[[Payments], object], str]] = {
    "price": (lambda p: p.price(), "GET /v1/prices/price_1"),
    "make_customer": (
        lambda p: p.make_customer("41c2d9", "alice@example.com", "Alice", "customer-41c2d9"),
        "POST /v1/customers",
    ),
    "start_checkout": (lambda p: p.start_checkout(ORDER), "POST /v1/checkout/sessions"),
    "checkout": (lambda p: p.checkout("cs_1"), "GET /v1/checkout/sessions/cs_1"),
    "expire_checkout": (
        lambda p: p.expire_checkout("cs_1"),
        "POST /v1/checkout/sessions/cs_1/expire",
    ),
    "portal_url": (
        lambda p: p.portal_url("cus_1", "http://localhost:8000/account"),
        "POST /v1/billing_portal/sessions",
    ),
    "subscription": (lambda p: p.subscription("sub_1"), "GET /v1/subscriptions/sub_1"),
    "subscriptions": (lambda p: p.subscriptions("cus_1"), "GET /v1/subscriptions"),
    "cancel": (lambda p: p.cancel("sub_1"), "DELETE /v1/subscriptions/sub_1"),
    "refund_latest": (lambda p: p.refund_latest("sub_1"), "GET /v1/subscriptions/sub_1"),
    "invoices": (lambda p: p.invoices("cus_1"), "GET /v1/invoices"),
    "events": (
        lambda p: list(p.events(datetime.now(UTC) - A_DAY, TYPES)),
        "GET /v1/events",
    ),
}
WITHOUT_REQUEST = {"read_webhook"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeMock]:
    try:
        home = stripe_mock.find_or_build()
    except NotBuilt as error:
        pytest.skip(str(error))
    with stripe_mock.running(home, tmp_path_factory.mktemp("stripe-mock")) as found:
        yield found


@pytest.fixture
def mock(server: StripeMock) -> StripeMock:
    """The server, with nothing left to tell of an earlier test that failed."""
    server.answers()
    return server


@pytest.fixture
def mock_settings(mock: StripeMock, monkeypatch: pytest.MonkeyPatch) -> WebSettings:
    for name in WebSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return WebSettings(
        stripe_api_base=mock.url,
        stripe_secret_key=cast(Any, "sk_test_123"),
        stripe_price_id="price_1",
        clawdet_adapter_timeout_s=60,
    )


@pytest.fixture
def payments(mock_settings: WebSettings) -> Payments:
    return Payments(mock_settings)


@pytest.mark.parametrize("name", CALLS)
def test_stripe_knows_every_parameter_of_a_call(
    name: str, payments: Payments, mock: StripeMock
) -> None:
    call, request = CALLS[name]
    call(payments)
    assert mock.answers() == [f"{request} 200"], mock.said()


def test_stripe_knows_the_parameters_of_a_checkout_with_automatic_tax(
    mock_settings: WebSettings, mock: StripeMock
) -> None:
    taxed = mock_settings.model_copy(update={"stripe_automatic_tax": True})
    Payments(taxed).start_checkout(ORDER)
    assert mock.answers() == ["POST /v1/checkout/sessions 200"], mock.said()


def test_stripe_knows_the_parameters_of_a_refund(payments: Payments, mock: StripeMock) -> None:
    # The fixtures' latest invoice has no payments, so refund_latest() stops before this request.
    payments._refund("pi_1", 2000)
    assert mock.answers() == ["POST /v1/refunds 200"], mock.said()


def test_stripe_knows_the_parameters_by_which_the_sandbox_registers_us(
    mock_settings: WebSettings, mock: StripeMock
) -> None:
    local_webhooks.register(mock_settings, 8000)
    listed, deleted, made = mock.answers()
    assert listed == "GET /v1/webhook_endpoints 200", mock.said()
    assert deleted.startswith("DELETE /v1/webhook_endpoints/we_"), mock.said()
    assert deleted.endswith(" 200"), mock.said()
    assert made == "POST /v1/webhook_endpoints 200", mock.said()


def test_every_call_of_the_adapter_is_among_these() -> None:
    public = {name for name in vars(Payments) if not name.startswith("_")}
    assert public - WITHOUT_REQUEST == set(CALLS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"customer": "cus_1", "nonsense": "1"},
        {"customer": "cus_1", "subscription_data": {"nonsense": "1"}},
        {"line_items": [{"price": "price_1", "nonsense": "1"}]},
        {"line_items": [{"price": "price_1", "quantity": "two"}]},
        {"mode": "nonsense"},
    ],
    ids=["unknown", "unknown-below", "unknown-in-list", "wrong-type", "no-such-value"],
)
def test_a_parameter_that_stripe_does_not_know_is_refused(
    wrong: dict[str, Any], mock: StripeMock
) -> None:
    client = stripe.StripeClient("sk_test_123", base_addresses={"api": mock.url})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.checkout.sessions.create(params=cast(Any, wrong))
    assert mock.answers() == ["POST /v1/checkout/sessions 400"], mock.said()
