from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from webapp import clock
from webapp.app import create_app
from webapp.billing.models import WebhookEvent
from webapp.http.context import EXTENSION, Clawdet
from webapp.instances import capacity, facts
from webapp.instances.models import Instance
from webapp.settings import WebSettings


@pytest.fixture
def app_with_token(settings: WebSettings, app: Flask) -> Iterator[Flask]:
    """The same, where Prometheus has a token."""
    token = SecretStr("prometheus-may-read")
    made = create_app(settings.model_copy(update={"clawdet_metrics_token": token}))
    yield made
    made.extensions[EXTENSION].jobs.close()
    made.extensions[EXTENSION].db.close()


def test_without_a_worker_the_page_says_how_to_start_one(olga: FlaskClient) -> None:
    page = olga.get("/fleet/health").text

    assert "Something needs a look" in page
    assert "python -m webapp.worker" in page


def test_with_fresh_sweeps_all_is_well(olga: FlaskClient, c: Clawdet) -> None:
    with c.db.begin() as session:
        capacity.say(session, True, clock.now())
        facts.keep(session, "orphans", [], clock.now())

    assert "All is well" in olga.get("/fleet/health").text


def test_each_trouble_has_its_remedy(olga: FlaskClient, c: Clawdet) -> None:
    at = clock.now()
    orphan = {"resource": "server ghost", "property": "id", "expected": "", "found": "4711"}
    with c.db.begin() as session:
        capacity.say(session, False, at)
        facts.keep(session, "orphans", [orphan], at - timedelta(days=1))
        session.add(
            WebhookEvent(
                id="evt_1", type="invoice.paid", payload="{}", received_at=at - timedelta(hours=1)
            )
        )

    page = olga.get("/fleet/health").text

    for text in ("sold out", "server ghost", "4711", "1 unhandled", "sales are stopped"):
        assert text in page


def test_liveness_asks_the_database(client: FlaskClient) -> None:
    answer = client.get("/healthz")

    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_metrics_count_requests_instances_and_jobs(client: FlaskClient, live: Instance) -> None:
    client.get("/terms")

    text = client.get("/metrics").text

    assert 'clawdet_requests_total{endpoint="pages.terms",method="GET",status="200"} 1.0' in text
    assert 'clawdet_request_seconds_count{endpoint="pages.terms"} 1.0' in text
    assert 'clawdet_instances{status="complete"} 1.0' in text
    assert 'clawdet_jobs{queue="stacks",state="waiting"} 1.0' in text
    assert "clawdet_webhooks_unhandled 0.0" in text


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.9"}, 404),
        ("198.51.100.9", {}, 404),
        ("198.51.100.9", {"Authorization": "Bearer prometheus-may-read"}, 404),
    ],
)
def test_metrics_are_for_this_machine(
    address: str, headers: dict[str, str], status: int, client: FlaskClient
) -> None:
    answer = client.get("/metrics", environ_overrides={"REMOTE_ADDR": address}, headers=headers)

    assert answer.status_code == status


def test_metrics_are_for_whoever_has_the_token(app_with_token: Flask) -> None:
    client = app_with_token.test_client()

    def ask(token: str) -> int:
        return client.get(
            "/metrics",
            environ_overrides={"REMOTE_ADDR": "198.51.100.9"},
            headers={"Authorization": f"Bearer {token}"},
        ).status_code

    assert ask("prometheus-may-read") == 200
    assert ask("somebody-else") == 404
