import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import requests
import waitress
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import column, select, table
from waitress import wasyncore

from sandbox.supervisor import Sandbox
from tests.webapp.billing.stripe_account import StripeAccount
from tests.webapp.conftest import SignInAs, csrf
from webapp import clock
from webapp.accounts.models import User
from webapp.accounts.terms import TERMS_VERSION
from webapp.billing.jobs import handle_webhook
from webapp.billing.models import Subscription, WebhookEvent
from webapp.errors import Conflict
from webapp.http.context import Clawdet
from webapp.instances.models import Instance
from webapp.mail.models import Letter

WEBHOOKS = "/api/webhooks/stripe"


@pytest.fixture
def stripe_account(sandbox: Sandbox, outside: requests.Session) -> StripeAccount:
    return StripeAccount(sandbox, outside)


@dataclass(frozen=True)
class Customer:
    """Somebody signed in, with what there is of them."""

    c: Clawdet
    client: FlaskClient
    id: str

    @property
    def user(self) -> User:
        with self.c.db.read() as session:
            return session.get_one(User, self.id)

    @property
    def stripe_id(self) -> str:
        return self.user.stripe_customer_id or ""

    @property
    def instances(self) -> list[Instance]:
        with self.c.db.read() as session:
            return list(session.scalars(select(Instance).where(Instance.user_id == self.id)))

    @property
    def desired(self) -> list[str]:
        """What should be of every instance they ever had."""
        return [instance.desired for instance in self.instances]

    @property
    def subscriptions(self) -> dict[str, str]:
        """Id to status, as our rows have it."""
        with self.c.db.read() as session:
            rows = session.scalars(select(Subscription).where(Subscription.user_id == self.id))
            return {row.id: row.status for row in rows}

    @property
    def letters(self) -> list[str]:
        with self.c.db.read() as session:
            rows = session.scalars(
                select(Letter).where(Letter.user_id == self.id).order_by(Letter.created_at)
            )
            return [row.template for row in rows]

    def checkout(self) -> str:
        """Press the button of the plan page; where it leads."""
        token = csrf(self.client, "/signup/pay")
        answer = self.client.post("/signup/pay", data={"csrf_token": token})
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def come_back(self, answer: requests.Response) -> Any:
        """Follow Stripe's way back to us."""
        assert answer.status_code == 303, answer.text
        return self.client.get(answer.headers["Location"].partition("localhost:8000")[2])


@pytest.fixture
def make_customer(app: Flask, c: Clawdet, sign_in: SignInAs) -> Callable[[str], Customer]:
    """Signs somebody in who has given details and confirmed the address."""

    def make(username: str) -> Customer:
        client = app.test_client()
        user = sign_in(client, username)
        with c.db.begin() as session:
            row = session.get_one(User, user.id)
            row.email, row.email_verified_at = f"{username}@example.com", clock.now()
            row.terms_version, row.terms_accepted_at = TERMS_VERSION, clock.now()
        return Customer(c, client, user.id)

    return make


@pytest.fixture
def alice(make_customer: Callable[[str], Customer]) -> Customer:
    return make_customer("alice")


@pytest.fixture
def paid(alice: Customer, stripe_account: StripeAccount) -> Customer:
    """Alice has paid, with a card that is declined at the next renewal, and is back."""
    answer = stripe_account.pay(alice.checkout(), "4000000000000341")
    assert alice.come_back(answer).status_code == 200
    return alice


@dataclass(frozen=True)
class Site:
    """The application on a real port, where Stripe's webhooks reach it."""

    url: str


@pytest.fixture
def site(app: Flask, stripe_account: StripeAccount) -> Iterator[Site]:
    sockets: dict[int, Any] = {}
    server = waitress.create_server(app, map=sockets, host="127.0.0.1", port=0, threads=24)
    url = f"http://127.0.0.1:{server.effective_port}"
    ending = threading.Event()

    def serve() -> None:
        while not ending.is_set():
            wasyncore.loop(timeout=1, map=sockets, count=1)

    thread = threading.Thread(target=serve, name="site")
    thread.start()
    stripe_account.deliver("normal")
    fields = {"url": url + WEBHOOKS, "enabled_events[0]": "*"}
    endpoint = stripe_account.call("POST", "webhook_endpoints", **fields)
    yield Site(url)
    stripe_account.call("DELETE", f"webhook_endpoints/{endpoint['id']}")
    stripe_account.deliver("normal")
    ending.set()
    server.pull_trigger()
    thread.join()
    server.task_dispatcher.shutdown()
    wasyncore.close_all(sockets)


@pytest.fixture
def handle_all(c: Clawdet) -> Callable[[], list[str]]:
    """Run the handling that is enqueued, in the order of arrival; what each came to."""

    def run() -> list[str]:
        with c.db.read() as session:
            waiting = session.scalars(
                select(WebhookEvent.id)
                .where(WebhookEvent.handled_at.is_(None))
                .order_by(WebhookEvent.received_at)
            ).all()
        for event_id in waiting:
            with suppress(Conflict):  # as in the worker: one that fails stops no other
                handle_webhook(c, event_id)
        with c.db.read() as session:
            return [session.get_one(WebhookEvent, event_id).outcome for event_id in waiting]

    return run


def jobs_named(c: Clawdet, prefix: str) -> list[str]:
    """Keys of the jobs that were ever enqueued and begin like that."""
    schema = "dbos" if c.db.engine.name == "postgresql" else None
    jobs = table("workflow_status", column("workflow_uuid"), schema=schema)
    with c.db.read() as session:
        keys = session.scalars(select(jobs.c.workflow_uuid)).all()
    return [key for key in keys if key.startswith(prefix)]


def set_past_due_since(customer: Customer, at: datetime) -> None:
    """As if we had learnt of the failed payment at that moment."""
    with customer.c.db.begin() as session:
        for row in session.scalars(select(Subscription).where(Subscription.user_id == customer.id)):
            row.past_due_since = at
