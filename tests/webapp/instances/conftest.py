"""A customer with an instance, made by the service; no worker runs."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.webapp.conftest import SignInAs, csrf
from webapp import clock
from webapp.accounts.models import User
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.models import Instance, Operation, Progress

MakeInstance = Callable[..., Instance]
Tell = Callable[..., int]
Post = Callable[..., TestResponse]


@pytest.fixture
def alice(client: FlaskClient, sign_in: SignInAs) -> User:
    """Signed in with `client`."""
    return sign_in(client, "alice")


@pytest.fixture
def make_instance(c: Clawdet) -> MakeInstance:
    """An instance of a user's, with columns as a test wants them."""

    def make(user: User, **columns: Any) -> Instance:
        with c.db.begin() as session:
            found = session.get_one(User, user.id)
            instance = service.create(session, c.jobs, found, "stripe", "paid")
            for name, value in columns.items():
                setattr(instance, name, value)
            return instance

    return make


@pytest.fixture
def live(alice: User, make_instance: MakeInstance) -> Instance:
    """Alice's, running and reached."""
    at = clock.now()
    return make_instance(
        alice,
        status="complete",
        status_since=at,
        live_at=at,
        observed_generation=1,
        location="hel1",
        ipv4="203.0.113.7",
        gateway_ms=38,
        seen_at=at,
        gateway_token="a-token-of-the-gateway",
    )


@pytest.fixture
def tell(c: Clawdet) -> Tell:
    """Write progress rows as (resource, state, seconds, text) of one operation; the last's id."""

    def write(
        instance: Instance, *rows: tuple[Any, ...], kind: str = "up", outcome: str = ""
    ) -> int:
        phases = {"server": "creating_vps", "certificate": "configuring_dns"}
        phases["record"] = "configuring_dns"
        with c.db.begin() as session:
            operation = Operation(
                instance_id=instance.id, kind=kind, generation=instance.generation, outcome=outcome
            )
            operation.ended_at = clock.now() if outcome else None
            session.add(operation)
            session.flush()
            last = 0
            for resource, state, seconds, text in rows:
                step = phases.get(resource, "installing")
                row = Progress(
                    instance_id=instance.id,
                    operation_id=operation.id,
                    step=step,
                    resource=resource,
                    state=state,
                    seconds=seconds,
                    text=text,
                )
                session.add(row)
                session.flush()
                last = row.id
            return last

    return write


@pytest.fixture
def post(client: FlaskClient) -> Post:
    """Send a form as `client` with its CSRF token; the page that it leads to."""

    def send(path: str, follow: bool = True, **fields: str) -> TestResponse:
        fields["csrf_token"] = csrf(client, "/terms")
        return client.post(path, data=fields, follow_redirects=follow)

    return send
