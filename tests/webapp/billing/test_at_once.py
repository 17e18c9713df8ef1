"""Everything about one payment at the same moment, on both databases."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.webapp.billing.conftest import Customer, jobs_named
from tests.webapp.billing.stripe_account import StripeAccount
from webapp.billing import service, subscriptions
from webapp.billing.jobs import handle_webhook, reconcile_billing
from webapp.billing.webhooks import TYPES, store
from webapp.clock import now
from webapp.http.context import Clawdet


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """Both that we support."""
    if request.param == "sqlite":
        return database_url
    return str(request.getfixturevalue("postgres_url"))


def test_webhooks_the_browser_and_the_clock_together_make_one_instance(
    c: Clawdet, alice: Customer, stripe_account: StripeAccount
) -> None:
    since = now().replace(microsecond=0)
    user = alice.user
    with ThreadPoolExecutor(4) as pool:
        urls = set(pool.map(lambda _: service.start_checkout(c, user), range(4)))
    assert len(urls) == 1
    stripe_account.pay(urls.pop())
    subscription = stripe_account.subscriptions(alice.stripe_id)[0]["id"]
    events = [event for event in c.payments.events(since, TYPES) if subscription in str(event)]
    assert events

    def tell(number: int) -> None:
        event = events[number % len(events)]
        store(c, event)
        handle_webhook(c, event.id)

    with ThreadPoolExecutor(12) as pool:
        told: list[Future[Any]] = [pool.submit(tell, n) for n in range(4 * len(events))]
        told += [pool.submit(subscriptions.apply, c, subscription) for _ in range(4)]
        told.append(pool.submit(reconcile_billing, c))
    assert [one.exception() for one in told] == [None] * len(told)
    assert alice.desired == ["running"]
    assert alice.subscriptions == {subscription: "active"}
    assert len(jobs_named(c, "reconcile-")) == 1
    keys = {f"webhook-{event.id}" for event in events}
    assert keys <= set(jobs_named(c, "webhook-"))
