"""What may be asked of an instance. Nothing here touches a cloud: every change says what should be,
leaves a line in the timeline and wakes the reconciler, all in the caller's transaction."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts.models import User
from webapp.errors import ClawdetError, Conflict
from webapp.instances import slugs
from webapp.instances.models import Action, ActionKind, Instance, InstanceEvent, Operation, Progress
from webapp.instances.states import Desired, Status, check_transition
from webapp.jobs import Jobs

CLAWDET = "clawdet"
LOOKING: frozenset[ActionKind] = frozenset({"preview", "drift", "refresh"})
TOTAL = "total"
USUAL_OF = 20  # operations that the usual durations are taken from: enough for a median

_WANTS: dict[Desired, str] = {
    "running": "Asked to run",
    "suspended": "Asked to be suspended",
    "deleted": "Asked to be deleted",
}
_ASKS: dict[ActionKind, str] = {
    "restart": "Asked for a restart",
    "power_on": "Asked to be switched on",
    "power_off": "Asked to be switched off",
    "rebuild": "Asked for a rebuild from nothing",
    "rotate_token": "Asked for a new gateway token",
    "apply": "Asked to apply what should be",
    "refresh": "Asked to look at the clouds again",
    "drift": "Asked for a drift check",
    "preview": "Asked for a preview",
}
_BECAME: dict[Status, str] = {
    "pending": "Waiting its turn",
    "creating_vps": "Ordering the server",
    "configuring_dns": "Setting up the address",
    "installing": "Installing",
    "complete": "Running",
    "failed": "Failed",
    "suspended": "Suspended",
    "deleting": "Being deleted",
    "deleted": "Deleted",
}


class PaymentNeeded(ClawdetError):
    """It is for those who have paid."""

    status = 402
    code = "payment_needed"


def of_user(session: Session, user_id: str) -> Instance | None:
    """The user's instance that is not deleted."""
    return session.scalar(
        select(Instance)
        .where(Instance.user_id == user_id, Instance.status != "deleted")
        .order_by(Instance.created_at.desc())
    )


def create(session: Session, jobs: Jobs, user: User, actor: str, why: str) -> Instance:
    """The user's instance: the one they have, or a new one under the name they chose.

    Where that name is taken meanwhile, it gets a suffix.
    """
    # One at a time per user: two webhooks must not buy two servers.
    session.execute(select(User.id).where(User.id == user.id).with_for_update())
    found = of_user(session, user.id)
    if found:
        return found
    slug = slugs.suggest(session, user.slug or user.x_username, user.id)
    instance = Instance(user_id=user.id, slug=slug)
    session.add(instance)
    session.flush()
    record(session, instance, actor=actor, kind="created", text=f"{slug} was ordered", why=why)
    wake(session, jobs, instance)
    return instance


def want(
    session: Session,
    jobs: Jobs,
    instance: Instance,
    *,
    actor: str,
    why: str,
    desired: Desired | None = None,
    powered_on: bool | None = None,
) -> None:
    """Say what should be. Nothing happens where it is said already.

    Raises Conflict for power while it should not be running, and for any other wish once it is
    being deleted.
    """
    _lock(session, instance)
    texts = []
    if desired is not None and desired != instance.desired:
        _check_not_ending(instance)
        instance.desired = desired
        texts.append(_WANTS[desired])
    if powered_on is not None and powered_on != instance.powered_on:
        _check_wanted_running(instance)
        instance.powered_on = powered_on
        texts.append(_ASKS["power_on" if powered_on else "power_off"])
    if not texts:
        return
    for text in texts:
        record(session, instance, actor=actor, kind="wanted", text=text, why=why)
    _raise_generation(session, jobs, instance)


def ask(
    session: Session,
    jobs: Jobs,
    instance: Instance,
    kind: ActionKind,
    *,
    actor: str,
    approved: bool = False,
) -> Action:
    """Ask for something to be done once; one of its kind that waits already is returned instead.

    Raises Conflict where it makes no sense: nothing of a deleted instance, and only looking
    (preview, drift, refresh) at one that is suspended or off.
    """
    _lock(session, instance)
    _check_action(instance, kind)
    waiting = session.scalar(
        select(Action).where(
            Action.instance_id == instance.id, Action.kind == kind, Action.claimed_at.is_(None)
        )
    )
    if waiting and (waiting.approved or not approved):
        return waiting
    action = waiting or Action(instance_id=instance.id, kind=kind, asked_by=actor)
    action.approved = approved
    session.add(action)
    why = "the server may be replaced: approved by name" if approved else ""
    record(session, instance, actor=actor, kind="asked", text=_ASKS[kind], why=why)
    _raise_generation(session, jobs, instance)
    return action


def retry(session: Session, jobs: Jobs, instance: Instance, *, actor: str) -> None:
    """After a failure: go on from the step that failed. Raises Conflict if nothing has failed."""
    _lock(session, instance)
    if instance.status != "failed":
        raise Conflict("Nothing has failed.", "There is nothing to try again.")
    record(session, instance, actor=actor, kind="asked", text="Asked to try again")
    instance.failures_in_a_row = 0
    set_status(session, instance, "pending", clock.now())
    _raise_generation(session, jobs, instance)


def record(
    session: Session, instance: Instance, *, actor: str, kind: str, text: str, why: str = ""
) -> None:
    """Add a line to the instance's timeline: who, what, why. It is never changed."""
    session.add(
        InstanceEvent(
            instance_id=instance.id,
            at=clock.now(),
            actor=actor[:80],
            kind=kind,
            text=text,
            why=why,
        )
    )


def set_status(session: Session, instance: Instance, status: Status, at: datetime) -> None:
    """Write what was seen, with a line in the timeline; staying is no news.

    Raises Conflict unless the transition table allows it. `failure`, `failed_step` and `remedy`
    are set by the caller before `failed`, and emptied by every other status.
    """
    check_transition(instance.status, status)
    if status == instance.status:
        return
    instance.status, instance.status_since = status, at
    if status != "failed":
        instance.failed_step = instance.failure = instance.remedy = ""
    if status == "complete" and instance.live_at is None:
        instance.live_at = at
    if status == "deleted":
        instance.deleted_at = at
    text = _BECAME[status]
    record(session, instance, actor=CLAWDET, kind="status", text=text, why=instance.failure)


def wake(session: Session, jobs: Jobs, instance: Instance, suffix: str = "") -> None:
    """Enqueue the reconciler for this generation, once; a `suffix` makes it another time."""
    key = f"reconcile-{instance.id}-{instance.generation}{suffix}"
    jobs.enqueue(session, "reconcile", instance.id, key=key, partition=instance.id)


def usual_seconds(session: Session) -> dict[str, float]:
    """How long things usually take, in seconds: by step (states.STEPS), by resource, and TOTAL.

    Medians of the last operations that went well and had something to do; {} before the first.
    """
    recent = (
        select(Progress.operation_id)
        .join(Operation, Operation.id == Progress.operation_id)
        .where(Progress.state == "done", Operation.outcome == "succeeded")
        .group_by(Progress.operation_id)
        .order_by(Progress.operation_id.desc())
        .limit(USUAL_OF)
    )
    rows = session.scalars(
        select(Progress).where(Progress.operation_id.in_(recent), Progress.state != "")
    )
    return {name: median(seconds) for name, seconds in _durations(rows).items()}


def _durations(rows: Iterable[Progress]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    times: dict[tuple[int, str], list[datetime]] = defaultdict(list)
    for row in rows:
        if row.state == "done" and row.resource and row.seconds is not None:
            found[row.resource].append(row.seconds)
        if row.step:
            times[row.operation_id, row.step].append(row.at)
            times[row.operation_id, TOTAL].append(row.at)
    for (_, step), moments in times.items():
        found[step].append((max(moments) - min(moments)).total_seconds())
    return found


def _lock(session: Session, instance: Instance) -> None:
    """The row as it is now, and nobody else's until the transaction ends."""
    session.refresh(instance, with_for_update=True)


def _raise_generation(session: Session, jobs: Jobs, instance: Instance) -> None:
    instance.generation += 1
    instance.retry_at = None
    session.flush()
    wake(session, jobs, instance)


def _check_not_ending(instance: Instance) -> None:
    if instance.status in ("deleting", "deleted"):
        raise Conflict(
            f"{instance.slug} is being deleted.", "That can't be stopped any more; order a new one."
        )


def _check_wanted_running(instance: Instance) -> None:
    if instance.desired == "deleted" or instance.status in ("deleting", "deleted"):
        raise Conflict(f"{instance.slug} is being deleted.", "Nothing more can be done with it.")
    if instance.desired == "suspended":
        raise Conflict(f"{instance.slug} is suspended.", "Pay what is open to bring it back.")


def _check_action(instance: Instance, kind: ActionKind) -> None:
    if kind in LOOKING and instance.status != "deleted":
        return
    _check_wanted_running(instance)
    if not instance.powered_on and kind in ("restart", "rebuild", "rotate_token"):
        raise Conflict(f"{instance.slug} is switched off.", "Switch it on first.")
