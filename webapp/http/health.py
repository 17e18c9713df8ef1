"""Whether the application lives, and its figures for Prometheus."""

import hmac
import time
from collections.abc import Iterator
from ipaddress import ip_address

from flask import Blueprint, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.billing.models import WebhookEvent
from webapp.errors import NotFound
from webapp.http.access import public
from webapp.http.context import EXTENSION, Clawdet, here
from webapp.instances.models import Instance
from webapp.mail.models import Letter

health = Blueprint("health", __name__)

METRICS = "clawdet_metrics"


class Metrics:
    """One application's figures: requests as they are counted, the rest as the database has it."""

    def __init__(self, c: Clawdet) -> None:
        self.registry = CollectorRegistry()
        labels = ("endpoint", "method", "status")
        self.requests = Counter(
            "clawdet_requests", "Requests answered.", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "clawdet_request_seconds",
            "Time until an answer began.",
            ("endpoint",),
            registry=self.registry,
        )
        self.registry.register(FromDatabase(c))


class FromDatabase(Collector):
    """What is read when Prometheus asks."""

    def __init__(self, c: Clawdet) -> None:
        self._c = c

    def describe(self) -> list[Metric]:
        """Nothing: the database is not asked before somebody asks us."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every gauge."""
        with self._c.db.read() as session:
            yield _instances(session)
            yield from _jobs(self._c, session)
            yield _count(
                session, "clawdet_webhooks_unhandled", "Stripe's events not handled.", _UNHANDLED
            )
            yield _count(session, "clawdet_letters_unsent", "Letters not sent.", _UNSENT)


_UNHANDLED = select(func.count()).where(WebhookEvent.handled_at.is_(None))
_UNSENT = select(func.count()).where(Letter.sent_at.is_(None))


@health.record_once
def _install(setup: BlueprintSetupState) -> None:
    setup.app.extensions[METRICS] = Metrics(setup.app.extensions[EXTENSION])


@health.before_app_request
def _begin() -> None:
    g.metrics_began = time.perf_counter()


@health.after_app_request
def _end(response: Response) -> Response:
    metrics = current_app.extensions[METRICS]
    endpoint = request.endpoint or "none"
    metrics.requests.labels(endpoint, request.method, response.status_code).inc()
    began = g.get("metrics_began")
    if began is not None:
        metrics.seconds.labels(endpoint).observe(time.perf_counter() - began)
    return response


@health.get("/healthz")
@public
def live() -> Response:
    """`ok` while the database answers; 503 otherwise."""
    with here().db.read() as session:
        session.execute(select(1))
    return Response("ok\n", content_type="text/plain")


@health.get("/metrics")
@public
def metrics() -> Response:
    """For Prometheus on this machine, or with CLAWDET_METRICS_TOKEN as a bearer token."""
    if not (_from_here() or _has_token()):
        raise NotFound("There is nothing here.", "The address may be mistyped.")
    text = generate_latest(current_app.extensions[METRICS].registry)
    return Response(text, content_type=CONTENT_TYPE_LATEST)


def _from_here() -> bool:
    """By loopback, and not through a proxy that makes everybody look so."""
    proxied = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    return not proxied and ip_address(request.remote_addr or "0.0.0.0").is_loopback


def _has_token() -> bool:
    token = here().settings.clawdet_metrics_token.get_secret_value()
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def _instances(session: Session) -> Metric:
    gauge = GaugeMetricFamily("clawdet_instances", "Instances by status.", labels=["status"])
    query = select(Instance.status, func.count()).group_by(Instance.status)
    for status, number in session.execute(query):
        gauge.add_metric([status], number)
    return gauge


def _jobs(c: Clawdet, session: Session) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("clawdet_jobs", "Jobs by queue and state.", labels=["queue", "state"])
    oldest = GaugeMetricFamily(
        "clawdet_jobs_oldest_seconds", "Age of the oldest job that waits.", labels=["queue"]
    )
    for queue in c.jobs.status(session):
        for state in ("waiting", "delayed", "running", "failed"):
            jobs.add_metric([queue.queue, state], getattr(queue, state))
        age = (clock.now() - queue.oldest_at).total_seconds() if queue.oldest_at else 0.0
        oldest.add_metric([queue.queue], max(0.0, age))
    yield jobs
    yield oldest


def _count(session: Session, name: str, text: str, query: object) -> Metric:
    return GaugeMetricFamily(name, text, value=session.scalar(query) or 0)  # type: ignore[call-overload]
