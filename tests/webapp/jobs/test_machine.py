"""On a real machine: an instance is complete when it answers from outside, and not before."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from sandbox.machines import requirements
from sandbox.supervisor import Sandbox
from stacks.engine import Engine
from stacks.errors import CheckFailed
from stacks.outside import check_instance
from stacks.settings import Settings
from tests.leaks import without_leaks_of_the_sdk
from tests.webapp.jobs.conftest import Ask, Look, Order, Want
from webapp.adapters.orchestrator import Orchestrator
from webapp.http.context import Clawdet
from webapp.instances.models import InstanceEvent, Progress
from webapp.worker import Worker

pytestmark = [pytest.mark.machine, pytest.mark.engine, pytest.mark.timeout(900)]

INSTALL_S = 600.0


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The companies; servers are real machines."""
    if problems := requirements.problems():
        pytest.skip("no real machines here: " + "; ".join(problems))
    with Sandbox.start(tmp_path_factory.mktemp("sandbox"), machines="nspawn") as running:
        yield running


@pytest.fixture
def orchestrator(
    stack_settings: dict[str, str], pulumi_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Orchestrator]:
    """The operations as they are in production."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    given = {name.lower(): value for name, value in stack_settings.items()}
    with without_leaks_of_the_sdk():
        yield Orchestrator(Settings.model_validate(given), pulumi_engine)


def test_a_paid_instance_is_installed_checked_from_outside_and_then_complete(
    order: Order,
    ask: Ask,
    want: Want,
    look: Look,
    c: Clawdet,
    orchestrator: Orchestrator,
    sandbox: Sandbox,
) -> None:
    url = orchestrator.settings.instance_url("alice")
    instance_id = order("alice")
    with Worker(c, orchestrator, name="test", poll_s=0.1, scheduled=False) as worker:
        worker.work_until_idle(INSTALL_S)
        live = look(instance_id)
        assert (live.status, live.failure) == ("complete", "")
        assert live.gateway_ms
        assert live.gateway_token
        assert live.release
        # The name and the first step on the server begin at the same time.
        assert [s for s in steps(c) if s != "configuring_dns"] == [
            *("creating_vps", "installing", "complete")
        ]
        assert resource_done(c, "outside")
        check_instance(url, "alice", live.gateway_token)

        ask(instance_id, "rotate_token")
        worker.work_until_idle(INSTALL_S)
        rotated = look(instance_id)
        assert rotated.status == "complete"
        assert rotated.gateway_token
        check_instance(url, "alice", rotated.gateway_token)
        with pytest.raises(CheckFailed, match="gateway accepts the token"):
            check_instance(url, "alice", live.gateway_token, timeout_s=0.0)
        assert not said(c, live.gateway_token)
        assert not said(c, rotated.gateway_token)

        want(instance_id, desired="deleted")
        worker.work_until_idle(INSTALL_S)
        assert look(instance_id).status == "deleted"
        assert look(instance_id).final_backup


def steps(c: Clawdet) -> list[str]:
    """The statuses that the timeline tells, in order."""
    words = {
        "Ordering the server": "creating_vps",
        "Setting up the address": "configuring_dns",
        "Installing": "installing",
        "Running": "complete",
    }
    with c.db.read() as session:
        told = select(InstanceEvent.text).where(InstanceEvent.kind == "status")
        return [words[text] for text in session.scalars(told.order_by(InstanceEvent.id))]


def resource_done(c: Clawdet, resource: str) -> bool:
    with c.db.read() as session:
        rows = session.scalars(select(Progress).where(Progress.resource == resource))
        return [row.state for row in rows] == ["started", "done"]


def said(c: Clawdet, secret: str) -> bool:
    with c.db.read() as session:
        return any(secret in text for text in session.scalars(select(Progress.text)))
