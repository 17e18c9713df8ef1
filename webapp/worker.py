"""`python -m webapp.worker`: runs what the web process enqueues, and what the clock asks for."""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue

import structlog
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from stacks.errors import UsageError
from webapp import at_rest, clock
from webapp.accounts.jobs import clean_up
from webapp.adapters.orchestrator import Orchestrator
from webapp.app import build
from webapp.billing.jobs import handle_webhook, reconcile_billing
from webapp.claims import claim_for
from webapp.errors import ClawdetError
from webapp.http import logs
from webapp.http.context import Clawdet
from webapp.instances.jobs import forget_backups, sweep_drift, sweep_instances
from webapp.instances.reconcile import reconcile
from webapp.jobs import APPLICATION, SMALL, STACKS, VERSION
from webapp.mail.jobs import send_letter
from webapp.migrate import upgrade
from webapp.settings import WebSettings

START_WAIT_S = 30.0  # a predecessor that was asked to end may still be at it
DRAIN_S = 60.0  # longer than an engine takes to be interrupted
RECORDING_S = 5  # for DBOS to write that a job has ended
TRIES = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 3600.0
BILLING_S, HOUR_S = 300.0, 3600.0
KEPT = timedelta(days=7)
TICK_S = 1.0
LOOK_FOR_DEAD_S = 5.0

Function = Callable[..., None]

log = structlog.get_logger("worker")


@dataclass(frozen=True)
class Schedule:
    """A job that is enqueued once in every `every_s` seconds, by whichever worker comes first."""

    job: str
    every_s: float


class Worker:
    """Runs jobs in threads of this process until it is stopped.

    `name`: unique among the workers, and the same after a restart. `queues`: those it listens to.
    `poll_s`: how often it looks for work. `scheduled`: whether it also enqueues what the clock
    asks for. One per process.
    """

    def __init__(
        self,
        c: Clawdet,
        orchestrator: Orchestrator | None = None,
        *,
        name: str = "",
        queues: tuple[str, ...] = (STACKS, SMALL),
        poll_s: float = 1.0,
        scheduled: bool = True,
    ) -> None:
        self._c = c
        self._orchestrator = orchestrator or Orchestrator()
        self._name = name or socket.gethostname()
        self._queues = queues
        self._poll_s = poll_s
        self._schedules = schedules(c.settings) if scheduled else ()
        self._claim = claim_for(c.jobs.url, self._name)
        self._dbos: DBOS | None = None
        self._held = ExitStack()
        self._threads: list[threading.Thread] = []
        self._active = 0
        self._counting = threading.Lock()
        self._ending = threading.Event()
        self.lost = threading.Event()
        """Set when the claim on the name was lost: others may do our work, so we must end."""

    def __enter__(self) -> "Worker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, wait_s: float = START_WAIT_S) -> None:
        """Begin to work. Conflict when another worker has the database or the name."""
        with ExitStack() as undone:
            undone.callback(self._claim.release)
            self._claim.take(wait_s)
            self._ending.clear()
            self._take_over()
            undone.enter_context(self._orchestrator)
            undone.callback(DBOS.destroy, destroy_registry=True)
            self._launch()
            self._held = undone.pop_all()
        for loop in (self._keep_time, self._keep_watch):
            self._threads.append(threading.Thread(target=loop, daemon=True))
            self._threads[-1].start()
        log.info("worker_started", worker=self._name)

    def _launch(self) -> None:
        self._dbos = DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": self._c.jobs.url,
                "application_version": VERSION,
                "executor_id": self._name,
                "log_level": "WARNING",
            }
        )
        logging.getLogger("dbos").addFilter(_is_news)
        for job, function in functions(self._c, self._orchestrator).items():
            DBOS.workflow(name=job)(self._runner(job, function))
        at_once = self._orchestrator.settings.clawdet_max_operations
        self._c.jobs.make_queues(at_once, self._poll_s)
        DBOS.listen_queues(list(self._queues))
        DBOS.launch()

    def stop(self, drain_s: float = DRAIN_S) -> bool:
        """Claim nothing more, interrupt operations (they will be run again), end.

        False if a job goes on after `drain_s`: end the process, and it will be run again.
        """
        recording_s = RECORDING_S if self._active else 0
        self._ending.set()
        self._stop_claiming()
        stopping = threading.Thread(target=self._orchestrator.stop, daemon=True)
        stopping.start()
        ends = time.monotonic() + drain_s
        while (self._active or stopping.is_alive()) and time.monotonic() < ends:
            time.sleep(0.05)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=recording_s)
        self._held.close()
        log.info("worker_stopped", worker=self._name, left=self._active)
        return not self._active

    def work_until_idle(self, timeout_s: float = 300.0) -> None:
        """Return when nothing waits or runs (what is delayed does not count); TimeoutError."""
        ends = time.monotonic() + timeout_s
        while True:
            with self._c.db.read() as session:
                if self._c.jobs.is_idle(session, self._queues):
                    return
            if time.monotonic() > ends:
                raise TimeoutError(f"jobs still wait or run after {timeout_s:.0f} s")
            time.sleep(0.05)

    # -- running a job -----------------------------------------------------------------------

    def _stop_claiming(self) -> None:
        assert self._dbos
        for event in self._dbos.background_thread_stop_events:
            event.set()

    def _runner(self, job: str, function: Function) -> Callable[..., None]:
        def run(*args: str) -> None:
            key = str(DBOS.workflow_id)
            with self._counting:
                self._active += 1
            try:
                function(*args)
            except Exception as error:
                _tell(job, key, error)
                self._try_again(job, args, key)
                raise
            finally:
                with self._counting:
                    self._active -= 1

        run.__qualname__ = run.__name__ = job
        return run

    def _try_again(self, job: str, args: tuple[str, ...], key: str) -> None:
        """Later, and later each time. What has no argument is asked for by the clock again."""
        first, _, number = key.partition("~")
        tries = int(number or 1)
        if not args or tries >= TRIES:
            return
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 3 ** (tries - 1))
        again = f"{first}~{tries + 1}"
        with self._c.db.begin() as session:
            self._c.jobs.enqueue(session, job, *args, key=again, partition=args[0], delay_s=pause_s)

    # -- the clock and the others ------------------------------------------------------------

    def _keep_time(self) -> None:
        """Enqueue what is scheduled. Keys name the period, so that it happens once in each."""
        done: dict[str, int] = {}
        while True:
            for schedule in self._schedules:
                period = int(clock.now().timestamp() // schedule.every_s)
                if done.get(schedule.job) != period and self._enqueue(schedule.job, period):
                    done[schedule.job] = period
            if self._ending.wait(TICK_S):
                return

    def _enqueue(self, job: str, period: int) -> bool:
        try:
            with self._c.db.begin() as session:
                self._c.jobs.enqueue(session, job, key=f"{job}-{period}")
        except SQLAlchemyError as error:  # the next tick tries again
            log.error("schedule_waits", job=job, error=type(error).__name__)
            return False
        return True

    def _keep_watch(self) -> None:
        """See that our claim stands, and do what dead workers have left."""
        while not self._ending.wait(LOOK_FOR_DEAD_S):
            if not self._claim.holds():
                self.lost.set()
                self._stop_claiming()
                self._orchestrator.stop()
                return
            try:
                self._take_over()
            except SQLAlchemyError as error:
                log.error("take_over_waits", error=type(error).__name__)

    def _take_over(self) -> None:
        with self._c.db.read() as session:
            names = self._c.jobs.running(session)
        for name in names:
            if name != self._name:
                self._claim.take_over(name, partial(self._run_again, name))

    def _run_again(self, name: str) -> None:
        with self._c.db.read() as session:
            keys = self._c.jobs.running(session).get(name, [])
        if keys:
            log.warning("taking_over", dead=name, jobs=len(keys))
            self._c.jobs.run_again(keys)


def functions(c: Clawdet, orchestrator: Orchestrator) -> Mapping[str, Function]:
    """Every job by its name."""
    return {
        "reconcile": partial(reconcile, c, orchestrator),
        "handle_webhook": partial(handle_webhook, c),
        "send_letter": partial(send_letter, c),
        "sweep_instances": partial(sweep_instances, c, orchestrator),
        "sweep_drift": partial(sweep_drift, c, orchestrator),
        "forget_backups": partial(forget_backups, c, orchestrator),
        "reconcile_billing": partial(reconcile_billing, c),
        "clean_up": partial(clean_up, c),
        "forget_jobs": partial(forget_jobs, c),
    }


def schedules(settings: WebSettings) -> tuple[Schedule, ...]:
    """What the clock asks for."""
    return (
        Schedule("sweep_instances", settings.clawdet_sweep_s),
        Schedule("sweep_drift", settings.clawdet_drift_sweep_s),
        Schedule("reconcile_billing", BILLING_S),
        Schedule("forget_backups", HOUR_S),
        Schedule("clean_up", HOUR_S),
        Schedule("forget_jobs", HOUR_S),
    )


def forget_jobs(c: Clawdet) -> None:
    """Delete the records of jobs that ended a week ago."""
    c.jobs.forget(clock.now() - KEPT)


def _tell(job: str, key: str, error: Exception) -> None:
    if isinstance(error, ClawdetError):
        log.warning("job_failed", job=job, key=key, error=str(error))
    else:
        log.error("job_failed", job=job, key=key, exc_info=error)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether we have not logged it ourselves: DBOS, too, tells of a job that failed."""
    return "Exception encountered in background workflow" not in record.getMessage()


def main() -> int:
    """Work until SIGTERM or SIGINT; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m webapp.worker", description=__doc__)
    parser.add_argument("--name", default="", help="this worker's name (the host's)")
    arguments = parser.parse_args()
    logs.configure()
    try:
        c, worker, heard = _begin(arguments.name)
    except ClawdetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except UsageError as error:
        print(f"error: {error}\n{error.remedy}", file=sys.stderr)
        return 1
    wait_for_the_end(worker, heard)
    code = 1 if worker.lost.is_set() else 0
    if not worker.stop():
        sys.stdout.flush()
        os._exit(code)  # nothing waits for the thread of a job that does not end
    c.jobs.close()
    c.db.close()
    return code


def _begin(name: str) -> "tuple[Clawdet, Worker, SimpleQueue[int]]":
    settings, orchestrator = WebSettings.read(), Orchestrator()
    orchestrator.check()
    c = build(settings)
    upgrade(c.db.engine)
    at_rest.check(c.db, settings.clawdet_encryption_keys)
    worker = Worker(c, orchestrator, name=name)
    heard = hear_signals()  # before it takes anything on
    worker.start()
    return c, worker, heard


def hear_signals() -> "SimpleQueue[int]":
    """Every SIGTERM and SIGINT from now on.

    A queue that a handler may put into at any moment: it runs in the main thread, and would wait
    for ever for the lock of an Event that the same thread is about to wait for.
    """
    heard: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: heard.put(number))
    return heard


def wait_for_the_end(worker: Worker, heard: "SimpleQueue[int]") -> None:
    """Return when a signal was heard, or the worker's claim is lost.

    It looks up now and then: a signal that comes just as the thread lies down doesn't wake it.
    """
    while not worker.lost.is_set():
        with suppress(Empty):
            heard.get(timeout=TICK_S)
            return


if __name__ == "__main__":
    sys.exit(main())
