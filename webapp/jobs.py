"""The queue of jobs: enqueued in the transaction of what they are about, run by webapp.worker.

DBOS keeps it in tables of its own in the same database (PostgreSQL: schema `dbos`). Nothing else
of the web app knows of DBOS, and nobody but the worker runs jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dbos import DBOS, DBOSClient, EnqueueOptions, WorkflowSerializationFormat
from sqlalchemy import column, func, select, table
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

APPLICATION = "clawdet"
VERSION = "1"
"""Of the jobs' names and arguments. A worker runs work of its own version only."""

STACKS = "stacks"
"""The queue of what runs Pulumi: one job at a time per partition, the instance."""
SMALL = "small"
"""The queue of everything else: several at once."""
OF_STACKS = frozenset({"reconcile"})

STACKS_IN_ALL = 64  # without a bound over all, two workers may claim two jobs of one partition
SMALL_AT_ONCE = 8

WAITING, DELAYED, RUNNING, DONE = "ENQUEUED", "DELAYED", "PENDING", "SUCCESS"
FAILED = ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
ENDED = (DONE, *FAILED, "CANCELLED")
PAGE = 500

# Of DBOS's table (docs.dbos.dev, "System tables"), what its client can't count for us.
COLUMNS = (
    "workflow_uuid", "status", "queue_name", "executor_id", "created_at", "delay_until_epoch_ms",
)  # fmt: skip


@dataclass(frozen=True)
class QueueStatus:
    """How many jobs of a queue wait, wait for their time, run, and failed (of those still kept).

    `oldest_at`: since when the oldest of those that wait could have run.
    """

    queue: str
    waiting: int
    delayed: int
    running: int
    failed: int
    oldest_at: datetime | None


class Jobs:
    """The queue in the database at `url`. Making one makes DBOS's tables where they are missing."""

    def __init__(self, url: str) -> None:
        self.url = plain_url(url)
        DBOS.migrate(self.url)
        self._client = DBOSClient(
            system_database_url=self.url, application_name=APPLICATION, lazy=True
        )
        schema = None if self.url.startswith("sqlite") else "dbos"
        self._table = table("workflow_status", *map(column, COLUMNS), schema=schema)

    def enqueue(
        self,
        session: Session,
        job: str,
        *args: str,
        key: str,
        partition: str = "jobs",
        delay_s: float = 0,
    ) -> None:
        """Have a job run, once the caller's transaction commits. The same key is never run twice.

        `partition`: of one partition, one stack job runs at a time. `delay_s`: not before then.
        """
        session.flush()
        options: EnqueueOptions = {
            "workflow_name": job,
            "workflow_id": key,
            "queue_name": STACKS if job in OF_STACKS else SMALL,
            "app_version": VERSION,
            # The default is pickle: it would tie what waits to the code that wrote it.
            "serialization_type": WorkflowSerializationFormat.PORTABLE,
        }
        if job in OF_STACKS:  # without it the job would never run; elsewhere it is refused
            options["queue_partition_key"] = partition
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        self._client.enqueue_in_transaction(session, options, *args)

    def make_queues(self, operations: int, poll_s: float) -> None:
        """For a worker, before it begins: at most so many `operations` at once in a worker."""
        self._client.register_queue(
            STACKS,
            partition_concurrency=1,
            global_concurrency=STACKS_IN_ALL,
            worker_concurrency=operations,
            polling_interval_sec=poll_s,
        )
        self._client.register_queue(
            SMALL, worker_concurrency=SMALL_AT_ONCE, polling_interval_sec=poll_s
        )

    def status(self, session: Session) -> list[QueueStatus]:
        """Both queues as they are now."""
        jobs = self._table.c
        due = func.coalesce(jobs.delay_until_epoch_ms, jobs.created_at)
        rows = session.execute(
            select(jobs.queue_name, jobs.status, func.count(), func.min(due)).group_by(
                jobs.queue_name, jobs.status
            )
        )
        found = {(queue, status): (number, oldest) for queue, status, number, oldest in rows}
        return [_status(queue, found) for queue in (STACKS, SMALL)]

    def is_idle(self, session: Session, queues: Sequence[str] = (STACKS, SMALL)) -> bool:
        """Whether nothing runs or waits in them; what is delayed does not count."""
        jobs = self._table.c
        busy = select(jobs.workflow_uuid).where(
            jobs.status.in_((WAITING, RUNNING)), jobs.queue_name.in_(queues)
        )
        return session.execute(busy.limit(1)).first() is None

    def running(self, session: Session) -> dict[str, list[str]]:
        """Keys of the jobs that run, by the name of the worker that has claimed them."""
        jobs = self._table.c
        claimed = select(jobs.executor_id, jobs.workflow_uuid).where(jobs.status == RUNNING)
        found: dict[str, list[str]] = {}
        for worker, key in session.execute(claimed):
            found.setdefault(worker or "", []).append(key)
        return found

    def run_again(self, keys: Sequence[str]) -> None:
        """Give back jobs whose worker is dead, for any other to run."""
        for job in self._client.list_workflows(workflow_ids=list(keys), load_input=False):
            self._client.resume_workflow(job.workflow_id, queue_name=job.queue_name)

    def forget(self, before: datetime) -> int:
        """Delete the records of jobs that ended before then; how many. Their keys become free."""
        number = 0
        while ended := self._client.list_workflows(
            status=list(ENDED),
            completed_before=before.isoformat(),
            limit=PAGE,
            load_input=False,
            load_output=False,
        ):
            self._client.delete_workflows([job.workflow_id for job in ended])
            number += len(ended)
        return number

    def close(self) -> None:
        """Close the connections."""
        self._client.destroy()


def plain_url(url: str) -> str:
    """The database's URL as DBOS takes it: it chooses the driver itself."""
    parsed = make_url(url)
    name = parsed.get_backend_name()
    return parsed.set(drivername=name).render_as_string(hide_password=False)


def _status(queue: str, found: dict[tuple[str, str], tuple[int, int]]) -> QueueStatus:
    def number(status: str) -> int:
        return found.get((queue, status), (0, 0))[0]

    _, oldest = found.get((queue, WAITING), (0, None))
    return QueueStatus(
        queue,
        number(WAITING),
        number(DELAYED),
        number(RUNNING),
        sum(map(number, FAILED)),
        datetime.fromtimestamp(oldest / 1000, UTC) if oldest else None,
    )
