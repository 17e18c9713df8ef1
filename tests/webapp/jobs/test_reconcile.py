"""What should be becomes what is, and what was asked for is done once."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.stacks.outside import Outside, address, until
from tests.webapp.conftest import Letters
from tests.webapp.jobs.conftest import Ask, Look, Order, Want
from tests.webapp.working import Work
from webapp import clock
from webapp.adapters.orchestrator import Orchestrator
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.jobs import forget_backups
from webapp.instances.models import Action, Instance, InstanceEvent, Operation, Progress
from webapp.worker import Worker

pytestmark = pytest.mark.engine


def subjects(letters: Letters) -> list[str]:
    return [letter["subject"] for letter in letters()]


def operations(c: Clawdet, instance_id: str) -> list[tuple[str, str]]:
    with c.db.read() as session:
        found = session.scalars(
            select(Operation).where(Operation.instance_id == instance_id).order_by(Operation.id)
        )
        return [(row.kind, row.outcome) for row in found]


def timeline(c: Clawdet, instance_id: str) -> list[str]:
    with c.db.read() as session:
        found = select(InstanceEvent.text).where(InstanceEvent.instance_id == instance_id)
        return list(session.scalars(found.order_by(InstanceEvent.id)))


def test_a_paid_instance_goes_to_complete_and_says_how_far_it_is(
    order: Order, look: Look, work: Work, c: Clawdet, clouds: Outside, letters: Letters
) -> None:
    instance_id = order("alice")
    work()
    instance, server = look(instance_id), clouds.server("alice")
    assert instance.status == "complete"
    assert instance.observed_generation == instance.generation
    assert (instance.server_id, instance.ipv4) == (str(server.id), address(server))
    assert instance.location == "hel1"
    assert instance.gateway_token
    assert instance.live_at
    assert subjects(letters) == ["alice.clawdet.com is live"]
    assert operations(c, instance_id) == [("up", "succeeded")]
    with c.db.read() as session:
        rows = list(session.scalars(select(Progress).where(Progress.resource == "server")))
        assert [(row.step, row.state) for row in rows] == [
            ("creating_vps", "started"), ("creating_vps", "done"),
        ]  # fmt: skip
    said = timeline(c, instance_id)
    assert said[0] == "alice was ordered"
    assert said[-1] == "Running"


def test_suspended_resumed_and_deleted(
    order: Order,
    look: Look,
    want: Want,
    work: Work,
    clouds: Outside,
    letters: Letters,
    c: Clawdet,
    orchestrator: Orchestrator,
) -> None:
    instance_id = order("alice")
    work()
    want(instance_id, desired="suspended")
    work()
    assert look(instance_id).status == "suspended"
    assert clouds.server("alice").status == "off"
    want(instance_id, desired="running")
    work()
    assert look(instance_id).status == "complete"
    assert clouds.server("alice").status == "running"
    want(instance_id, desired="deleted")
    work()
    instance = look(instance_id)
    assert instance.status == "deleted"
    assert instance.deleted_at
    assert instance.gateway_token is None
    assert instance.final_backup
    assert clouds.is_empty()
    kept = timedelta(days=c.settings.clawdet_backup_days)
    for age, left in ((kept - timedelta(hours=1), 1), (kept + timedelta(hours=1), 0)):
        forget_backups(c, orchestrator, instance.deleted_at + age)
        assert len(clouds.snapshots()) == left
    assert look(instance_id).final_backup == ""
    assert len(subjects(letters)) == 2  # live, deleted


def test_what_is_deleted_before_it_was_made_leaves_nothing(
    order: Order, look: Look, want: Want, work: Work, clouds: Outside, letters: Letters
) -> None:
    instance_id = order("alice")
    want(instance_id, desired="deleted")
    work()
    assert look(instance_id).status == "deleted"
    assert clouds.is_empty()


def test_a_wish_that_comes_while_it_is_being_made_wins(
    order: Order,
    look: Look,
    want: Want,
    c: Clawdet,
    orchestrator: Orchestrator,
    clouds: Outside,
    letters: Letters,
) -> None:
    instance_id = order("alice")
    clouds.slow_actions(3)
    with Worker(c, orchestrator, name="test", poll_s=0.05, scheduled=False) as worker:
        until(clouds.servers, "the server")
        want(instance_id, desired="deleted")
        worker.work_until_idle()
    assert look(instance_id).status == "deleted"
    assert clouds.is_empty()
    assert "alice.clawdet.com is live" not in subjects(letters)


def test_customers_switch_off_and_on(
    order: Order, look: Look, want: Want, work: Work, clouds: Outside
) -> None:
    instance_id = order("alice")
    work()
    want(instance_id, powered_on=False)
    work()
    assert clouds.server("alice").status == "off"
    assert look(instance_id).status == "complete"
    want(instance_id, powered_on=True)
    work()
    assert clouds.server("alice").status == "running"
    assert look(instance_id).observed_generation == look(instance_id).generation


def test_a_preview_shows_what_apply_would_do_and_changes_nothing(
    order: Order, ask: Ask, work: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id = order("alice")
    work()
    clouds.delete_record("alice")
    ask(instance_id, "preview")
    ask(instance_id, "drift")
    work()
    assert clouds.records("alice") == []
    with c.db.read() as session:
        found = session.scalars(select(Operation).order_by(Operation.id)).all()
        changes = {row.kind: [(x["name"], x["op"]) for x in row.changes] for row in found}
    assert changes["preview"] == [("record", "create")]
    assert changes["drift"] == [("record", "delete")]
    ask(instance_id, "apply")
    work()
    assert clouds.record("alice").content == address(clouds.server("alice"))


def test_restart_new_token_and_rebuild_are_done_once(
    order: Order, look: Look, ask: Ask, work: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id = order("alice")
    work()
    before = look(instance_id)
    ask(instance_id, "restart")
    ask(instance_id, "rotate_token")
    work()
    after = look(instance_id)
    assert after.status == "complete"
    assert after.gateway_token != before.gateway_token
    assert after.server_id == before.server_id
    ask(instance_id, "rebuild", approved=True)
    work()
    rebuilt = look(instance_id)
    assert rebuilt.status == "complete"
    assert rebuilt.server_id == str(clouds.server("alice").id) != before.server_id
    kinds = [kind for kind, _ in operations(c, instance_id)]
    assert [kinds.count(kind) for kind in ("restart", "rotate_token", "rebuild")] == [1, 1, 1]
    with c.db.read() as session:
        actions = session.scalars(select(Action)).all()
        assert all(action.done_at and not action.error for action in actions)


def test_a_server_that_somebody_deleted_is_made_anew_only_with_approval(
    order: Order, look: Look, ask: Ask, work: Work, clouds: Outside
) -> None:
    instance_id = order("alice")
    work()
    clouds.delete_server("alice")
    ask(instance_id, "apply")
    work()
    instance = look(instance_id)
    assert (instance.status, instance.needs_approval) == ("failed", True)
    assert instance.retry_at is None
    assert clouds.servers() == []
    ask(instance_id, "apply", approved=True)
    work()
    instance = look(instance_id)
    assert (instance.status, instance.needs_approval) == ("complete", False)
    assert instance.server_id == str(clouds.server("alice").id)


def test_without_stock_it_waits_and_the_sweep_that_is_due_goes_on(
    order: Order, look: Look, work: Work, sweep: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id = order("alice")
    clouds.sell_out("hel1", "fsn1", "nbg1")
    work()
    instance = look(instance_id)
    assert instance.status == "failed"
    assert instance.failure.startswith("Our data centres have no free server")
    assert instance.retry_at
    assert instance.retry_at > clock.now()
    clouds.reset_stock()
    sweep()
    assert look(instance_id).status == "failed"  # not due yet
    with c.db.begin() as session:
        session.get_one(Instance, instance_id).retry_at = clock.now() - timedelta(seconds=1)
    sweep()
    assert look(instance_id).status == "complete"
    assert look(instance_id).failures_in_a_row == 0


def test_what_failed_says_where_and_goes_on_when_asked(
    order: Order, look: Look, work: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id = order("alice")
    clouds.add_server("alice")  # a stranger's
    work()
    instance = look(instance_id)
    assert (instance.status, instance.failed_step) == ("failed", "creating_vps")
    assert "Hetzner" not in instance.failure
    assert instance.retry_at is None
    clouds.delete_server("alice")
    with c.db.begin() as session:
        service.retry(session, c.jobs, session.get_one(Instance, instance_id), actor="alice")
    work()
    assert look(instance_id).status == "complete"


def test_an_operation_is_cancelled_on_request(
    order: Order,
    look: Look,
    work: Work,
    c: Clawdet,
    orchestrator: Orchestrator,
    clouds: Outside,
) -> None:
    instance_id = order("alice")
    clouds.slow_actions(60)
    with Worker(c, orchestrator, name="test", poll_s=0.05, scheduled=False) as worker:
        until(clouds.servers, "the server")
        with c.db.begin() as session:
            session.scalars(select(Operation)).one().cancel_requested = True
        worker.work_until_idle()
    assert operations(c, instance_id) == [("up", "cancelled")]
    assert look(instance_id).failure == "This was stopped by an operator."
    assert look(instance_id).retry_at is None


def test_a_preview_that_is_cancelled_is_over_and_nothing_has_failed(
    order: Order,
    ask: Ask,
    look: Look,
    work: Work,
    c: Clawdet,
    orchestrator: Orchestrator,
    clouds: Outside,
) -> None:
    instance_id = order("alice")
    with Worker(c, orchestrator, name="test", poll_s=0.05, scheduled=False) as worker:
        worker.work_until_idle()
        held = {"vendor": "hetzner", "method": "GET", "kind": "timeout", "times": 100}
        clouds.fault(path="^/v1/servers/", delay_s=30, **held)
        ask(instance_id, "preview")
        until(lambda: operations(c, instance_id)[1:], "the preview")
        with c.db.begin() as session:
            running = session.scalars(select(Operation).where(Operation.ended_at.is_(None)))
            running.one().cancel_requested = True
        worker.work_until_idle()
    assert operations(c, instance_id) == [("up", "succeeded"), ("preview", "cancelled")]
    assert look(instance_id).status == "complete"
    with c.db.read() as session:
        action = session.scalars(select(Action)).one()
        assert action.done_at
        assert "cancelled" in action.error
    clouds.mend()
    work()
    assert len(operations(c, instance_id)) == 2  # it is not done again


def test_duplicates_of_a_job_do_nothing(
    order: Order, look: Look, work: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id = order("alice")
    with c.db.begin() as session:
        instance = session.get_one(Instance, instance_id)
        for suffix in ("", "-again", "-and-again"):
            service.wake(session, c.jobs, instance, suffix)
    work()
    assert operations(c, instance_id) == [("up", "succeeded")]
    assert clouds.server("alice")


def test_two_operations_of_one_instance_never_run_at_once(
    order: Order, ask: Ask, work: Work, c: Clawdet
) -> None:
    ids = [order("alice"), order("bob")]
    for instance_id in ids:
        ask(instance_id, "restart")
        ask(instance_id, "rotate_token")
    work()
    with c.db.read() as session:
        for instance_id in ids:
            rows = session.scalars(
                select(Operation)
                .where(Operation.instance_id == instance_id)
                .order_by(Operation.started_at)
            ).all()
            ends = [row.ended_at for row in rows]
            begins = [row.started_at for row in rows]
            assert all(end and end <= begin for end, begin in zip(ends, begins[1:], strict=False))


def test_a_backup_that_fails_thrice_does_not_stop_the_deletion(
    order: Order, look: Look, want: Want, work: Work, sweep: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id = order("alice")
    work()
    clouds.fault(vendor="hetzner", method="POST", path="/create_image$", status=503, times=50)
    want(instance_id, desired="deleted")
    work()
    assert look(instance_id).status == "failed"
    for _ in range(2):
        with c.db.begin() as session:
            session.get_one(Instance, instance_id).retry_at = clock.now()
        sweep()
    assert look(instance_id).status == "deleted"
    assert clouds.is_empty()
    assert "There is no final backup: it failed too often" in timeline(c, instance_id)
