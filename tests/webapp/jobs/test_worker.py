"""Which worker runs what: one on SQLite, many on PostgreSQL, and the dead ones' work is done."""

import shutil
import signal
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.signals import send_aside
from tests.stacks.outside import Outside, until
from tests.webapp.conftest import Letters
from tests.webapp.jobs.conftest import Look, Order, Victims
from tests.webapp.working import Work
from webapp import clock
from webapp.adapters.orchestrator import Orchestrator
from webapp.errors import Conflict
from webapp.http.context import Clawdet
from webapp.jobs import SMALL, STACKS
from webapp.mail.service import post
from webapp.worker import Worker, schedules

ENDS_S = 120.0


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(
    request: pytest.FixtureRequest, empty_database: Path, tmp_path: Path
) -> Iterator[str]:
    """Both kinds of database."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_url")
    else:
        copy = tmp_path / "clawdet.sqlite3"
        shutil.copy(empty_database, copy)
        yield f"sqlite:///{copy}"


def letter(c: Clawdet, key: str = "one", to: str = "alice@example.com") -> None:
    with c.db.begin() as session:
        post(session, c.jobs, to=to, template="verify_email", key=key, link="https://x.test/")


def test_a_job_commits_with_the_rows_it_is_about(c: Clawdet, work: Work, letters: Letters) -> None:
    with pytest.raises(ZeroDivisionError), c.db.begin() as session:
        post(session, c.jobs, to="a@example.com", template="verify_email", key="k", link="x")
        raise ZeroDivisionError
    letter(c)
    work()
    assert len(letters()) == 1


def test_the_queues_tell_how_they_are(c: Clawdet, work: Work, order: Order) -> None:
    order("alice")
    letter(c)
    with c.db.begin() as session:
        c.jobs.enqueue(session, "send_letter", "gone", key="later", delay_s=3600)
    with c.db.read() as session:
        stacks, small = c.jobs.status(session)
    assert (stacks.queue, stacks.waiting, stacks.running) == (STACKS, 1, 0)
    assert (small.queue, small.waiting, small.delayed, small.failed) == (SMALL, 1, 1, 0)
    assert small.oldest_at
    assert abs(clock.now() - small.oldest_at) < timedelta(minutes=10)
    work(stacks=False)
    with c.db.read() as session:
        stacks, small = c.jobs.status(session)
    assert (stacks.waiting, small.waiting, small.oldest_at) == (1, 0, None)


def test_a_job_that_fails_is_run_again_later(c: Clawdet, work: Work) -> None:
    with c.db.begin() as session:
        c.jobs.enqueue(session, "handle_webhook", "no such event", key="broken")
    work()
    with c.db.read() as session:
        _, small = c.jobs.status(session)
    assert (small.failed, small.delayed) == (1, 1)


def test_jobs_that_ended_are_forgotten(c: Clawdet, work: Work) -> None:
    letter(c)
    work()
    assert c.jobs.forget(clock.now() - timedelta(days=7)) == 0
    assert c.jobs.forget(clock.now() + timedelta(minutes=1)) == 1


def test_what_the_clock_asks_for_is_enqueued_once_in_its_period(
    c: Clawdet, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for = len(schedules(c.settings))
    today = clock.now()
    tomorrow = today + timedelta(days=1)  # no schedule's period is longer
    for moment, enqueued in ((today, asked_for), (today, asked_for), (tomorrow, 2 * asked_for)):
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        with Worker(c, orchestrator, name="test", queues=()):
            pass  # it enqueues what is due before it ends
        assert waiting(c) == enqueued


def waiting(c: Clawdet) -> int:
    with c.db.read() as session:
        return sum(queue.waiting for queue in c.jobs.status(session))


def test_a_second_worker_of_the_same_name_is_refused(
    c: Clawdet, orchestrator: Orchestrator, victims: Victims
) -> None:
    victim = victims.start("test")
    assert victim.stdout
    assert "working" in "".join(until_line(victim.stdout, "working"))
    with pytest.raises(Conflict, match="Another worker runs"):
        Worker(c, orchestrator, name="test").start(wait_s=0)
    victim.terminate()
    assert victim.wait(ENDS_S) == 0
    with Worker(c, orchestrator, name="test"):
        pass


def test_a_worker_hears_a_signal_that_does_not_wake_it(victims: Victims) -> None:
    victim = victims.start("test")
    assert victim.stdout
    assert "working" in "".join(until_line(victim.stdout, "working"))
    send_aside(victim.pid, signal.SIGTERM)
    assert victim.wait(ENDS_S) == 0


def until_line(lines: Iterable[str], word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return


@pytest.mark.engine
def test_a_dead_workers_work_is_done_by_one_of_another_name(
    order: Order,
    look: Look,
    c: Clawdet,
    orchestrator: Orchestrator,
    clouds: Outside,
    victims: Victims,
) -> None:
    instance_id = order("alice")
    victim = victims.start("first", "after", "webapp.adapters.orchestrator:Orchestrator.prepare")
    assert victim.wait(ENDS_S) == -signal.SIGKILL
    with c.db.read() as session:
        assert list(c.jobs.running(session)) == ["first"]
    with Worker(c, orchestrator, name="second", poll_s=0.05, scheduled=False) as worker:
        worker.work_until_idle()
    assert look(instance_id).status == "complete"
    assert clouds.server("alice")


@pytest.mark.engine
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_on_postgres_two_workers_share_the_work(
    order: Order,
    look: Look,
    c: Clawdet,
    orchestrator: Orchestrator,
    clouds: Outside,
    victims: Victims,
) -> None:
    ids = [order(name) for name in ("alice", "bob", "carol")]
    victim = victims.start("first")
    until(lambda: len(clouds.servers()) >= 1, "the first worker's server")
    with Worker(c, orchestrator, name="second", poll_s=0.05, scheduled=False) as worker:
        victim.kill()  # while it works, perhaps
        victim.wait(ENDS_S)
        worker.work_until_idle()
    assert [look(instance_id).status for instance_id in ids] == ["complete"] * 3
    assert len(clouds.servers()) == 3
