"""What the clock asks for: whatever is behind is woken, what differs and takes too long is told."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.stacks.outside import Outside
from tests.webapp.conftest import Letters
from tests.webapp.jobs.conftest import Look, Order, Want
from tests.webapp.working import Work
from webapp import clock
from webapp.http.context import Clawdet
from webapp.instances import capacity, facts
from webapp.instances.jobs import ORPHANS
from webapp.instances.models import Instance, InstanceEvent

pytestmark = pytest.mark.engine


def told(c: Clawdet, kind: str) -> list[str]:
    with c.db.read() as session:
        return list(session.scalars(select(InstanceEvent.text).where(InstanceEvent.kind == kind)))


def test_an_instance_whose_job_was_lost_is_woken(
    order: Order, look: Look, work: Work, sweep: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id = order("alice")
    work()
    with c.db.begin() as session:
        session.get_one(Instance, instance_id).generation += 1
    sweep()
    instance = look(instance_id)
    assert instance.observed_generation == instance.generation == 2


def test_what_is_late_is_told_once(
    order: Order, look: Look, sweep: Work, c: Clawdet, letters: Letters
) -> None:
    instance_id = order("alice")
    late = timedelta(seconds=c.settings.clawdet_live_deadline_s + 1)
    with c.db.begin() as session:
        session.get_one(Instance, instance_id).created_at = clock.now() - late
    sweep(stacks=False)
    sweep(stacks=False)
    assert look(instance_id).alerted_at
    assert len(told(c, "alert")) == 1
    (letter,) = letters()
    assert letter["to"] == [c.settings.clawdet_support_email]
    assert letter["subject"] == "alice.clawdet.com is paid for and not live"
    assert "/fleet/alice" in letter["text"]
    assert "Clawdet goes on trying." in letter["text"]
    assert "the money goes back" not in letter["text"]  # it was not paid by card


def test_sales_stop_when_no_location_has_a_server(sweep: Work, c: Clawdet, clouds: Outside) -> None:
    def open_for_sale() -> bool:
        with c.db.read() as session:
            return capacity.has_capacity(session)

    clouds.sell_out("hel1", "fsn1", "nbg1")
    sweep()
    assert not open_for_sale()
    clouds.reset_stock()
    sweep()
    assert open_for_sale()


def test_drift_is_kept_and_told_when_it_changes(
    order: Order, look: Look, want: Want, work: Work, sweep: Work, c: Clawdet, clouds: Outside
) -> None:
    instance_id, off = order("alice"), order("bob")
    work()
    want(off, powered_on=False)
    work()
    clouds.delete_record("alice")
    clouds.add_server("stray", labels={"managed-by": "clawdet", "instance": "nobody"})
    for _ in range(2):
        sweep("sweep_drift")
    assert [(one["resource"], one["property"]) for one in look(instance_id).drift] == [
        ("record", "name")
    ]
    assert look(instance_id).drift_at
    assert look(off).drift == []  # it is off because it should be
    assert len(told(c, "drift")) == 1
    with c.db.read() as session:
        found = facts.find(session, ORPHANS)
        assert found
        assert [one["resource"] for one in found.value] == ["server stray"]
