"""A worker that is killed at any line: the next one goes on, and nothing is there twice."""

import signal

import pytest

from tests.stacks.outside import Outside, address, until
from tests.webapp.conftest import Letters
from tests.webapp.jobs.conftest import Look, Order, Victims
from tests.webapp.working import Work
from webapp.http.context import Clawdet
from webapp.instances.models import Operation

pytestmark = pytest.mark.engine

RECONCILER = "webapp.instances.reconcile:_Reconciler"
LOG = "webapp.instances.operation_log:OperationLog"
ORCHESTRATOR = "webapp.adapters.orchestrator:Orchestrator"
ENDS_S = 120.0


def check_whole(look: Look, clouds: Outside, letters: Letters, instance_id: str) -> None:
    """Complete; one server, one record, one certificate; one letter."""
    instance, server = look(instance_id), clouds.server("alice")
    assert instance.status == "complete"
    assert instance.observed_generation == instance.generation
    assert instance.server_id == str(server.id)
    assert server.status == "running"
    assert clouds.record("alice").content == address(server)
    assert len(clouds.certificates("alice")) == 1
    assert [letter["subject"] for letter in letters()] == ["alice.clawdet.com is live"]


@pytest.mark.parametrize(
    ("when", "where"),
    [
        ("before", "webapp.instances.reconcile:read_goal"),
        ("after", f"{LOG}.close_interrupted"),
        ("before", f"{ORCHESTRATOR}.prepare"),
        ("after", f"{ORCHESTRATOR}.prepare"),
        ("before", f"{ORCHESTRATOR}.power"),
        ("after", f"{ORCHESTRATOR}.look"),
        ("before", f"{LOG}._end"),
        ("before", f"{RECONCILER}._settle"),
        ("after", f"{RECONCILER}._settle"),
    ],
)
def test_kill_9_between_two_lines_is_mended_by_the_next_worker(
    order: Order,
    look: Look,
    work: Work,
    clouds: Outside,
    letters: Letters,
    victims: Victims,
    when: str,
    where: str,
) -> None:
    instance_id = order("alice")
    victim = victims.start("test", when, where)
    assert victim.wait(ENDS_S) == -signal.SIGKILL
    work()
    check_whole(look, clouds, letters, instance_id)


@pytest.mark.parametrize("moment", ["server", "record"])
def test_kill_9_while_the_engine_runs_is_mended_by_the_next_worker(
    order: Order,
    look: Look,
    work: Work,
    clouds: Outside,
    letters: Letters,
    victims: Victims,
    moment: str,
) -> None:
    instance_id = order("alice")
    if moment == "server":
        clouds.stall()
    victim = victims.start("test")
    until(clouds.servers if moment == "server" else clouds.records, moment)
    victim.kill()
    victim.wait(ENDS_S)
    work()
    check_whole(look, clouds, letters, instance_id)


def test_sigterm_interrupts_the_operation_and_leaves_it_to_the_next_worker(
    order: Order,
    look: Look,
    work: Work,
    c: Clawdet,
    clouds: Outside,
    letters: Letters,
    victims: Victims,
) -> None:
    instance_id = order("alice")
    clouds.slow_actions(8)
    victim = victims.start("test")
    until(clouds.servers, "the server")
    victim.terminate()
    assert victim.wait(ENDS_S) == 0
    with c.db.read() as session:
        assert [op.outcome for op in session.query(Operation)] == ["interrupted"]
    assert look(instance_id).status != "failed"
    clouds.slow_actions(0)
    work()
    check_whole(look, clouds, letters, instance_id)
