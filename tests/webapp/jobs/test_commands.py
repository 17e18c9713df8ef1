"""`flask instances preview`, `apply` and the like, followed while a real worker does them."""

from collections.abc import Iterator

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from tests.stacks.outside import Outside
from tests.webapp.jobs.conftest import Order
from webapp.adapters.orchestrator import Orchestrator
from webapp.app import create_app
from webapp.http.context import Clawdet
from webapp.settings import WebSettings
from webapp.worker import Worker

pytestmark = pytest.mark.engine


@pytest.fixture
def flask(settings: WebSettings) -> FlaskCliRunner:
    return create_app(settings).test_cli_runner()


@pytest.fixture
def worker(c: Clawdet, orchestrator: Orchestrator) -> Iterator[Worker]:
    with Worker(c, orchestrator, name="test", poll_s=0.05, scheduled=False) as worker:
        yield worker


def run(flask: FlaskCliRunner, line: str) -> Result:
    return flask.invoke(args=["instances", *line.split()])


def test_an_operator_looks_repairs_and_approves_by_command(
    flask: FlaskCliRunner, worker: Worker, order: Order, clouds: Outside
) -> None:
    order("alice")
    worker.work_until_idle()

    clean = run(flask, "preview alice")
    assert (clean.exit_code, clean.stderr) == (0, "")
    assert clean.stdout.splitlines()[-1] == "preview of alice: nothing would change"

    clouds.delete_record("alice")
    seen = run(flask, "preview alice")
    assert "create             DnsRecord            record" in seen.stdout
    assert seen.stdout.splitlines()[-1] == "preview of alice: 1 would change"
    assert "apply of alice: 1 changed" in run(flask, "apply alice").stdout
    assert clouds.record("alice")

    clouds.delete_server("alice")
    refused = run(flask, "apply alice")
    assert refused.exit_code == 1
    assert (
        refused.stderr.splitlines()[-1]
        == "next:  To approve: flask instances apply alice --yes alice"
    )
    assert run(flask, "apply alice --yes bob").exit_code == 1
    assert not clouds.servers()
    approved = run(flask, "apply alice --yes alice")
    assert approved.exit_code == 0, approved.output
    assert clouds.server("alice")

    assert run(flask, "restart alice").stdout.splitlines()[-1] == "restart of alice: done"
    said = run(flask, "log alice 6").stdout
    assert said.startswith("up of alice: succeeded, ")
    assert "server done" in said
    worker.work_until_idle()
    kinds = [line.split()[1] for line in run(flask, "operations alice").stdout.splitlines()]
    assert kinds == ["kind", "power_on", "restart", "up", "up", "up", "preview", "preview", "up"]
