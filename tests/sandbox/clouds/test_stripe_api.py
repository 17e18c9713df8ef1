import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe as sdk

from sandbox.clouds.world import World
from tests.sandbox.clouds.live import call
from tests.sandbox.clouds.stripe_steps import PRICE, Shop, open_shop


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with open_shop(world) as shop:
        yield shop


def refused(answer: Any) -> tuple[int, dict[str, Any]]:
    error: dict[str, Any] = answer.json()["error"]
    return answer.status_code, error


def fault(shop: Shop, **rule: Any) -> None:
    rule = {"vendor": "stripe", "path": "/v1/", **rule}
    assert call(shop.live.url, "POST", "/admin/faults", rule).status == 201


def test_the_price_is_nineteen_euros_a_month(shop: Shop) -> None:
    price = shop.v1.prices.retrieve(PRICE, {"expand": ["product"]})
    assert (price.unit_amount, price.currency) == (1900, "eur")
    assert (price.recurring.interval, price.recurring.interval_count) == ("month", 1)
    assert price.product.name == "Clawdet"
    assert [one.id for one in shop.v1.prices.list({"product": price.product.id}).data] == [PRICE]


def test_products_and_prices_can_be_added_and_changed(shop: Shop) -> None:
    product = shop.v1.products.create({"name": "Support", "metadata": {"tier": "1"}})
    asked = {"product": product.id, "currency": "EUR", "unit_amount": 500, "lookup_key": "help"}
    price = shop.v1.prices.create(asked | {"recurring": {"interval": "year"}})
    assert (price.currency, price.recurring.interval, price.type) == ("eur", "year", "recurring")
    assert [one.id for one in shop.v1.prices.list({"lookup_keys": ["help"]}).data] == [price.id]
    shop.v1.products.update(product.id, {"active": False, "metadata": {"tier": ""}})
    changed = shop.v1.products.retrieve(product.id)
    assert (changed.active, changed.metadata.to_dict()) == (False, {})
    shop.v1.prices.update(price.id, {"active": False})
    with pytest.raises(sdk.InvalidRequestError, match="inactive"):
        shop.session(line_items=[{"price": price.id, "quantity": 1}])


def test_the_account_is_told(shop: Shop) -> None:
    account = shop.v1.accounts.retrieve_current()
    assert (account.object, account.default_currency, account.charges_enabled) == (
        "account",
        "eur",
        True,
    )


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ({"Authorization": ""}, "You did not provide an API key."),
        (
            {"Authorization": "Bearer sk_test_wrong_wrong_9876"},
            "Invalid API Key provided: sk_test_*",
        ),
    ],
)
def test_without_our_key_nothing_is_told(shop: Shop, headers: dict[str, str], start: str) -> None:
    status, error = refused(shop.raw("GET", "/v1/customers", headers=headers))
    assert (status, error["type"]) == (401, "invalid_request_error")
    assert error["message"].startswith(start)
    with pytest.raises(sdk.AuthenticationError):
        shop.client_of("sk_test_wrong").v1.customers.list()


def test_the_key_may_come_as_a_user_name(shop: Shop) -> None:
    key = shop.live.world.credentials.stripe_secret_key
    basic = base64.b64encode(f"{key}:".encode()).decode()
    answer = shop.raw("GET", "/v1/customers", headers={"Authorization": f"Basic {basic}"})
    assert answer.status_code == 200
    assert answer.headers["Request-Id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/nothing"), ("DELETE", "/v1/customers"), ("GET", "/v2/x")]
)
def test_an_unknown_path_is_answered_as_the_vendor_does(shop: Shop, method: str, path: str) -> None:
    status, error = refused(shop.raw(method, path))
    assert (status, error["type"]) == (404, "invalid_request_error")
    assert error["message"].startswith(f"Unrecognized request URL ({method}: ")


def test_a_customer_lives_from_creation_to_deletion(shop: Shop) -> None:
    customer = shop.v1.customers.create(
        {
            "email": "ann@example.com",
            "address": {"city": "Berlin"},
            "metadata": {"a": "1", "b": "2"},
        }
    )
    assert customer.address.city == "Berlin"
    changes = {"name": "Ann", "metadata": {"a": "", "c": "3"}}
    changed = shop.v1.customers.update(customer.id, changes)
    assert (changed.name, changed.email) == ("Ann", "ann@example.com")
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    shop.v1.customers.create({"email": "bob@example.com"})
    found = shop.v1.customers.list({"email": "ann@example.com"}).data
    assert [one.id for one in found] == [customer.id]

    assert shop.v1.customers.delete(customer.id).deleted
    assert shop.v1.customers.retrieve(customer.id).deleted
    with pytest.raises(sdk.InvalidRequestError, match="No such customer") as caught:
        shop.v1.customers.update(customer.id, {"name": "Eve"})
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    assert shop.event_types() == [
        "customer.created",
        "customer.updated",
        "customer.created",
        "customer.deleted",
    ]


def test_an_update_tells_what_was_before(shop: Shop) -> None:
    customer = shop.v1.customers.create({"name": "Ann"})
    shop.v1.customers.update(customer.id, {"name": "Bea"})
    shop.v1.customers.update(customer.id, {"name": "Bea"})
    (event,) = shop.v1.events.list({"type": "customer.updated"}).data
    assert event.data.object["name"] == "Bea"
    assert event.data.previous_attributes.to_dict() == {"name": "Ann"}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"email": "ann"}, "email", "email_invalid"),
        ({"e-mail": "ann@example.com"}, "e-mail", "parameter_unknown"),
        ({"address": {"town": "Berlin"}}, "address[town]", "parameter_unknown"),
        ({"metadata": {"k" * 41: "v"}}, "metadata", None),
        ({"metadata": {"k": "v" * 501}}, "metadata[k]", None),
    ],
)
def test_an_invalid_customer_is_refused(
    shop: Shop, fields: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(sdk.InvalidRequestError) as caught:
        shop.v1.customers.create(fields)
    error: Any = caught.value
    assert (error.http_status, error.param, error.code) == (400, param, code)
    assert shop.v1.customers.list().data == []


def test_lists_are_told_newest_first_a_page_at_a_time(shop: Shop) -> None:
    made = [shop.v1.customers.create({"name": f"{n}"}).id for n in range(12)][::-1]
    first = shop.v1.customers.list()
    assert ([one.id for one in first.data], first.has_more) == (made[:10], True)
    assert first.url == "/v1/customers"
    second = shop.v1.customers.list({"starting_after": made[9]})
    assert ([one.id for one in second.data], second.has_more) == (made[10:], False)
    before = shop.v1.customers.list({"ending_before": made[5], "limit": 3})
    assert ([one.id for one in before.data], before.has_more) == (made[2:5], True)
    assert [one.id for one in shop.v1.customers.list({"limit": 5}).auto_paging_iter()] == made


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"starting_after": "cus_none"}, "starting_after"),
        ({"starting_after": "a", "ending_before": "b"}, "starting_after"),
    ],
)
def test_a_page_that_cannot_be_is_refused(shop: Shop, query: dict[str, Any], param: str) -> None:
    with pytest.raises(sdk.InvalidRequestError) as caught:
        shop.v1.customers.list(query)
    assert caught.value.param == param


def test_lists_can_be_limited_to_a_time(shop: Shop) -> None:
    made = shop.v1.customers.create({}).created
    assert len(shop.v1.customers.list({"created": {"gte": made}}).data) == 1
    assert shop.v1.customers.list({"created": {"gt": made}}).data == []
    (event,) = shop.v1.events.list().data
    assert [one.id for one in shop.v1.events.list({"created": event.created}).data] == [event.id]


def test_the_same_key_and_body_get_the_same_answer(shop: Shop) -> None:
    once = {"idempotency_key": "order-1"}
    first = shop.v1.customers.create({"name": "Ann"}, once)
    assert shop.v1.customers.create({"name": "Ann"}, once).id == first.id
    again = shop.raw(
        "POST", "/v1/customers", data={"name": "Ann"}, headers={"Idempotency-Key": "x"}
    )
    replay = shop.raw(
        "POST", "/v1/customers", data={"name": "Ann"}, headers={"Idempotency-Key": "x"}
    )
    assert "Idempotent-Replayed" not in again.headers
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert replay.headers["Original-Request"] == again.headers["Request-Id"]
    assert replay.json() == again.json()
    assert len(shop.v1.customers.list().data) == 2


def test_the_same_key_with_another_body_is_an_error(shop: Shop) -> None:
    once = {"idempotency_key": "order-1"}
    shop.v1.customers.create({"name": "Ann"}, once)
    with pytest.raises(sdk.IdempotencyError) as caught:
        shop.v1.customers.create({"name": "Bob"}, once)
    assert caught.value.http_status == 400
    assert len(shop.v1.customers.list().data) == 1


def test_of_many_requests_with_one_key_at_once_one_is_carried_out(shop: Shop) -> None:
    def create(_: int) -> str:
        made: str = shop.v1.customers.create({"name": "Ann"}, {"idempotency_key": "order-1"}).id
        return made

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(create, range(4)))) == 1
    assert len(shop.v1.customers.list().data) == 1


def test_a_request_that_was_invalid_may_be_corrected_under_its_key(shop: Shop) -> None:
    once = {"idempotency_key": "order-1"}
    with pytest.raises(sdk.InvalidRequestError):
        shop.v1.customers.create({"email": "ann"}, once)
    assert shop.v1.customers.create({"email": "ann@example.com"}, once).id


def test_an_answer_that_was_lost_is_given_again_under_its_key(shop: Shop) -> None:
    fault(shop, kind="lost_response", method="POST")
    once = {"idempotency_key": "order-1"}
    with pytest.raises(sdk.APIConnectionError):
        shop.v1.customers.create({"name": "Ann"}, once)
    told = shop.v1.customers.create({"name": "Ann"}, once)
    assert [one.id for one in shop.v1.customers.list().data] == [told.id]


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, sdk.RateLimitError), (500, sdk.APIError), (401, sdk.AuthenticationError)],
)
def test_a_fault_looks_like_the_vendors_own(
    shop: Shop, status: int, error: type[sdk.StripeError]
) -> None:
    fault(shop, status=status)
    with pytest.raises(error):
        shop.v1.customers.list()
    assert shop.v1.customers.list().data == []


def test_what_is_named_by_id_can_be_told_in_full(shop: Shop) -> None:
    subscription = shop.subscribe()
    expand = ["latest_invoice.payments", "customer", "default_payment_method"]
    told = shop.v1.subscriptions.retrieve(subscription.id, {"expand": expand})
    assert told.latest_invoice.payments.data[0].status == "paid"
    assert told.customer.email == "ann@example.com"
    assert told.default_payment_method.card.brand == "visa"
    listed = shop.v1.subscriptions.list({"expand": ["data.customer"]})
    assert listed.data[0].customer.id == told.customer.id
    assert not hasattr(shop.v1.invoices.retrieve(told.latest_invoice.id), "payments")


@pytest.mark.parametrize("path", ["nonsense", "status", "customer.a.b.c.d", "customer.email"])
def test_what_cannot_be_told_in_full_is_refused(shop: Shop, path: str) -> None:
    subscription = shop.subscribe()
    with pytest.raises(sdk.InvalidRequestError, match="expand"):
        shop.v1.subscriptions.retrieve(subscription.id, {"expand": [path]})


def test_coupons_and_codes_are_checked(shop: Shop) -> None:
    welcome = shop.v1.promotion_codes.list({"code": "WELCOME50"}).data[0]
    assert (welcome.active, welcome.promotion.coupon) == (True, "WELCOME50")
    assert shop.v1.coupons.retrieve("WELCOME50").percent_off == 50
    for wrong in (
        {},
        {"amount_off": 5},
        {"percent_off": 120},
        {"id": "WELCOME50", "percent_off": 5},
    ):
        with pytest.raises(sdk.InvalidRequestError):
            shop.v1.coupons.create(wrong)
    promotion = {"type": "coupon", "coupon": "WELCOME50"}
    with pytest.raises(sdk.InvalidRequestError, match="already exists"):
        shop.v1.promotion_codes.create({"promotion": promotion, "code": "WELCOME50"})
    assert shop.v1.coupons.delete("WELCOME50").deleted
    with pytest.raises(sdk.InvalidRequestError, match="No such coupon"):
        shop.v1.coupons.retrieve("WELCOME50")
