import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe as sdk

from sandbox.clouds.world import World
from tests.sandbox.clouds.live import close_world, open_world
from tests.sandbox.clouds.stripe_steps import Inbox, Shop, open_inbox, open_shop, until


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    with open_shop(world) as shop:
        yield shop


def names(inbox: Inbox, shop: Shop) -> list[str]:
    """Which customers the endpoint was told of, in that order."""
    return [event.data.object["name"] for event in inbox.events(shop.secret)]


def make(shop: Shop, *customers: str) -> None:
    for name in customers:
        shop.v1.customers.create({"name": name})


def settled(shop: Shop) -> bool:
    return all(entry["state"] not in ("pending", "held") for entry in shop.deliveries())


def test_an_event_is_delivered_signed(shop: Shop, inbox: Inbox) -> None:
    endpoint = inbox.register(shop)
    assert endpoint.secret == shop.secret
    assert not hasattr(shop.v1.webhook_endpoints.retrieve(endpoint.id), "secret")
    make(shop, "Ann")
    until(lambda: inbox.got)
    (event,) = inbox.events(shop.secret)
    assert (event.type, event.data.object["name"]) == ("customer.created", "Ann")
    assert event.request.id.startswith("req_")
    kept = shop.v1.events.retrieve(event.id)
    assert kept.data.object.to_dict() == event.data.object.to_dict()
    until(lambda: shop.v1.events.retrieve(event.id).pending_webhooks == 0)

    body, signature = inbox.got[0]
    for secret, payload in (("whsec_other", body), (shop.secret, body + b" ")):
        with pytest.raises(sdk.SignatureVerificationError):
            sdk.Webhook.construct_event(payload, signature, secret)


def test_a_payment_is_told_in_the_order_in_which_it_came_about(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop)
    subscription = shop.subscribe()
    until(lambda: settled(shop) and inbox.got)
    told = inbox.events(shop.secret)
    types = [event.type for event in told]
    assert types == shop.event_types()
    wanted = [
        "customer.created",
        "customer.subscription.created",
        "invoice.created",
        "invoice.paid",
        "invoice.payment_succeeded",
        "checkout.session.completed",
    ]
    assert [type_ for type_ in types if type_ in wanted] == wanted
    assert told[-1].data.object["subscription"] == subscription.id


def test_an_endpoint_gets_the_events_it_asked_for(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop, "customer.deleted", "invoice.paid")
    customer = shop.v1.customers.create({"name": "Ann"})
    shop.v1.customers.delete(customer.id)
    until(lambda: inbox.got)
    assert [event.type for event in inbox.events(shop.secret)] == ["customer.deleted"]


def test_an_endpoint_that_fails_is_asked_again_until_it_says_yes(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop)
    inbox.answers = [500, 302]
    make(shop, "Ann")
    until(lambda: inbox.got and settled(shop))
    assert names(inbox, shop) == ["Ann"] * 3
    (entry,) = shop.deliveries()
    assert entry["state"] == "delivered"
    assert [attempt["status"] for attempt in entry["attempts"]] == [500, 302, 200]


def test_an_event_that_fails_does_not_stop_the_next(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop)
    inbox.answers = [500]
    shop.control("deliveries", mode="hold")
    make(shop, "Ann", "Bob")
    shop.control("deliveries", mode="normal")
    until(lambda: len(inbox.got) == 3)
    assert names(inbox, shop) == ["Ann", "Bob", "Ann"]


def test_held_events_come_when_deliveries_are_normal_again(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop)
    shop.control("deliveries", mode="hold")
    make(shop, "Ann", "Bob")
    assert [entry["state"] for entry in shop.deliveries()] == ["held", "held"]
    assert shop.v1.events.list({"delivery_success": False}).data[0].pending_webhooks == 1
    assert inbox.got == []
    shop.control("deliveries", mode="normal")
    until(lambda: settled(shop))
    assert names(inbox, shop) == ["Ann", "Bob"]


def test_held_events_come_the_other_way_round_when_wished(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop)
    shop.control("deliveries", mode="hold")
    make(shop, "Ann", "Bob", "Cleo")
    assert shop.control("deliveries", mode="reverse").json()["mode"] == "normal"
    until(lambda: settled(shop))
    make(shop, "Dora")
    until(lambda: len(inbox.got) == 4 and settled(shop))
    assert names(inbox, shop) == ["Cleo", "Bob", "Ann", "Dora"]


def test_each_event_comes_three_times_when_wished(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop)
    shop.control("deliveries", mode="duplicate")
    make(shop, "Ann")
    until(lambda: settled(shop))
    events = inbox.events(shop.secret)
    assert len(events) == 3
    assert len({event.id for event in events}) == 1
    shop.control("deliveries", mode="normal")
    make(shop, "Bob")
    until(lambda: len(inbox.got) == 4)


def test_dropped_events_never_come_but_can_be_resent(shop: Shop, inbox: Inbox) -> None:
    inbox.register(shop)
    shop.control("deliveries", mode="drop")
    make(shop, "Ann")
    shop.control("deliveries", mode="normal")
    make(shop, "Bob")
    until(lambda: inbox.got)
    assert names(inbox, shop) == ["Bob"]
    assert shop.deliveries()[0]["state"] == "dropped"
    lost = shop.v1.events.list().data[-1]
    assert shop.control(f"events/{lost.id}/resend").json() == {"endpoints": 1}
    until(lambda: len(inbox.got) == 2)
    assert names(inbox, shop) == ["Bob", "Ann"]


def test_an_endpoint_that_is_switched_off_or_deleted_gets_nothing(shop: Shop, inbox: Inbox) -> None:
    endpoint = inbox.register(shop)
    shop.control("deliveries", mode="hold")
    make(shop, "Ann")
    shop.v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    make(shop, "Bob")
    shop.control("deliveries", mode="normal")
    until(lambda: settled(shop))
    assert [entry["state"] for entry in shop.deliveries()] == ["dropped"]
    shop.v1.webhook_endpoints.update(endpoint.id, {"disabled": False})
    make(shop, "Cleo")
    until(lambda: inbox.got)
    assert shop.v1.webhook_endpoints.delete(endpoint.id).deleted
    make(shop, "Dora")
    assert shop.v1.webhook_endpoints.list().data == []
    assert names(inbox, shop) == ["Cleo"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"url": "nowhere", "enabled_events": ["*"]}, "url"),
        ({"url": "http://a.test"}, "enabled_events"),
        ({"url": "http://a.test", "enabled_events": []}, "enabled_events"),
    ],
)
def test_an_invalid_endpoint_is_refused(shop: Shop, fields: dict[str, object], param: str) -> None:
    with pytest.raises(sdk.InvalidRequestError) as caught:
        shop.v1.webhook_endpoints.create(fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("advance", {}, "give either subscription or checkout_session"),
        ("advance", {"subscription": "sub_x"}, "give either to or seconds"),
        ("advance", {"subscription": "sub_x", "seconds": 1}, "No such subscription"),
        ("advance", {"checkout_session": "cs", "to": "period_end"}, "has no period"),
        ("deliveries", {"mode": "sideways"}, "mode: "),
        ("card", {"customer": "cus_x", "number": "4242424242424242"}, "No such customer"),
        ("card", {"customer": "cus_x", "number": "1"}, "number is invalid"),
        ("events/evt_none/resend", {}, "No such event"),
    ],
)
def test_a_wrong_order_to_the_sandbox_is_explained(
    shop: Shop, path: str, body: dict[str, object], message: str
) -> None:
    answer = shop.control(path, **body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_everything_is_there_after_a_restart(tmp_path: Path, inbox: Inbox) -> None:
    def look(shop: Shop) -> list[str]:
        kinds = (
            shop.v1.customers, shop.v1.subscriptions, shop.v1.invoices, shop.v1.payment_intents,
            shop.v1.checkout.sessions, shop.v1.prices, shop.v1.promotion_codes,
            shop.v1.webhook_endpoints, shop.v1.events,
        )  # fmt: skip
        return [json.dumps(kind.list().to_dict(), default=str) for kind in kinds]

    once = {"idempotency_key": "order-1"}
    world = open_world(tmp_path)
    with open_shop(world) as shop:
        inbox.register(shop, "customer.deleted")
        shop.subscribe()
        customer = shop.v1.customers.create({"name": "Ann"}, once)
        before = look(shop)
    close_world(world)

    world = open_world(tmp_path)
    with open_shop(world) as shop:
        assert look(shop) == before
        assert shop.v1.customers.create({"name": "Ann"}, once).id == customer.id
        shop.v1.customers.delete(customer.id)
        until(lambda: inbox.got)
    close_world(world)


def test_undelivered_events_are_delivered_after_a_restart(tmp_path: Path, inbox: Inbox) -> None:
    world = open_world(tmp_path)
    with open_shop(world) as shop:
        inbox.register(shop)
        inbox.answers = [500]
        make(shop, "Ann")
        until(lambda: inbox.got)
        shop.control("deliveries", mode="hold")
        make(shop, "Bob")
    close_world(world)
    assert len(inbox.got) <= 2

    world = open_world(tmp_path)
    with open_shop(world) as shop:
        shop.control("deliveries", mode="normal")
        until(lambda: settled(shop))
        assert set(names(inbox, shop)) == {"Ann", "Bob"}
    close_world(world)
