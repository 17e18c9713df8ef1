"""Sweeps: what is behind is woken, what takes too long is told, what the clouds say is kept."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from stacks.errors import StackError
from stacks.operations import Finding
from webapp import clock
from webapp.adapters.orchestrator import Orchestrator
from webapp.http.context import Clawdet
from webapp.instances import capacity, facts, letters, service
from webapp.instances.goal import read_goal
from webapp.instances.models import Instance

WAKE_EVERY = timedelta(minutes=5)
ORPHANS = "orphans"
"""The fact that says what carries our labels and belongs to no stack."""

log = structlog.get_logger("sweep")


def sweep_instances(c: Clawdet, orchestrator: Orchestrator) -> None:
    """Wake the reconciler of whatever is behind or due; alert where it takes too long; look
    whether the cloud has room."""
    at = clock.now()
    with c.db.begin() as session:
        for instance in _behind(session, at):
            service.wake(session, c.jobs, instance, suffix=_suffix(instance, at))
        _alert(session, c, at)
    _look_for_room(c, orchestrator)


def sweep_drift(c: Clawdet, orchestrator: Orchestrator) -> None:
    """Keep what differs between the clouds and the stacks, with a line in the timeline of each
    instance where that has changed."""
    try:
        found = orchestrator.sweep()
    except StackError as error:
        log.warning("drift_sweep_failed", error=str(error))
        return
    at = clock.now()
    with c.db.begin() as session:
        alive = session.scalars(select(Instance).where(Instance.status != "deleted"))
        for instance in alive:
            if instance.slug in found:
                _keep(session, instance, found[instance.slug], at)
        facts.keep(session, ORPHANS, [asdict(one) for one in found.get("", [])], at)


def forget_backups(c: Clawdet, orchestrator: Orchestrator, at: datetime | None = None) -> None:
    """Delete the final backups that were kept for long enough; one that can't be is tried again
    the next time."""
    at = at or clock.now()
    long_ago = at - timedelta(days=c.settings.clawdet_backup_days)
    old = select(Instance).where(Instance.final_backup != "", Instance.deleted_at < long_ago)
    with c.db.read() as session:
        backups = {instance.id: instance.final_backup for instance in session.scalars(old)}
    for instance_id, image in backups.items():
        try:
            orchestrator.delete_backup(image)
        except StackError as error:
            log.warning("backup_not_deleted", instance=instance_id, error=str(error))
            continue
        with c.db.begin() as session:
            instance = session.get_one(Instance, instance_id)
            instance.final_backup = ""
            text = "The final backup was deleted for good"
            service.record(session, instance, actor=service.CLAWDET, kind="backup", text=text)


def _behind(session: Session, at: datetime) -> Iterator[Instance]:
    """Those for which there is something to do at this moment."""
    unlike = or_(Instance.observed_generation < Instance.generation, Instance.status == "failed")
    for instance in session.scalars(select(Instance).where(Instance.status != "deleted", unlike)):
        if read_goal(session, instance.id, at):
            yield instance


def _suffix(instance: Instance, at: datetime) -> str:
    """The same for every sweep of some minutes: what is woken need not be woken again."""
    bucket = int(at.timestamp() // WAKE_EVERY.total_seconds())
    due = f"-{int(instance.retry_at.timestamp())}" if instance.retry_at else ""
    return f"-sweep-{bucket}{due}"


def _alert(session: Session, c: Clawdet, at: datetime) -> None:
    deadline = timedelta(seconds=c.settings.clawdet_live_deadline_s)
    late = select(Instance).where(
        Instance.desired == "running",
        Instance.live_at.is_(None),
        Instance.alerted_at.is_(None),
        Instance.created_at < at - deadline,
    )
    for instance in session.scalars(late):
        instance.alerted_at = at
        log.error(
            "instance_not_live",
            slug=instance.slug,
            status=instance.status,
            step=instance.failed_step,
        )
        letters.tell_operators(session, c, instance)
        text = "Not live by its deadline: the operators were told"
        service.record(session, instance, actor=service.CLAWDET, kind="alert", text=text)


def _look_for_room(c: Clawdet, orchestrator: Orchestrator) -> None:
    try:
        locations = orchestrator.capacity()
    except StackError as error:
        log.warning("capacity_unknown", error=str(error))
        return
    with c.db.begin() as session:
        capacity.say(session, any(locations.values()), clock.now())


def _keep(session: Session, instance: Instance, findings: list[Finding], at: datetime) -> None:
    rests = instance.desired != "running" or not instance.powered_on
    found = [asdict(one) for one in findings if not (rests and _is_off(one))]
    if found != instance.drift:
        names = ", ".join(f"{one['resource']} {one['property']}" for one in found)
        text = f"Differs from what should be: {names}" if found else "Is as it should be again"
        service.record(session, instance, actor=service.CLAWDET, kind="drift", text=text)
        log.warning("drift", slug=instance.slug, found=names)
    instance.drift, instance.drift_at = found, at


def _is_off(finding: Finding) -> bool:
    return (finding.resource, finding.property, finding.found) == ("server", "status", "off")
