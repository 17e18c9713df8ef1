"""What operators do beyond what customers may; each act names them in the record."""

import structlog
from sqlalchemy.orm import Session

from webapp import clock
from webapp.accounts.models import ROLES, Role, User
from webapp.billing import service as billing
from webapp.billing.models import WebhookEvent
from webapp.errors import Conflict, Invalid, NotFound
from webapp.instances import service as instances
from webapp.instances.models import Instance, Operation
from webapp.jobs import Jobs

log = structlog.get_logger("fleet")


def cancel(session: Session, instance: Instance, operation_id: int, actor: str) -> None:
    """Ask a running operation to end; the worker that runs it looks every half second.

    Raises NotFound if the instance has no such operation, Conflict if it has ended.
    """
    operation = operation_of(session, instance, operation_id)
    if operation.ended_at is not None:
        raise Conflict("This operation has ended already.", "There is nothing to cancel.")
    if operation.cancel_requested:
        return
    operation.cancel_requested = True
    text = f"Asked to cancel the {operation.kind}"
    instances.record(session, instance, actor=actor, kind="asked", text=text)


def operation_of(session: Session, instance: Instance, operation_id: int) -> Operation:
    """An operation of that instance; NotFound otherwise."""
    found = session.get(Operation, operation_id)
    if found is None or found.instance_id != instance.id:
        raise NotFound("There is no such operation.", "The instance's page lists the latest.")
    return found


def pay(session: Session, jobs: Jobs, user: User, *, actor: str, reason: str) -> None:
    """Note a payment by arrangement, and why. Raises Invalid without a reason, and what
    billing.mark_paid_manually raises."""
    if not reason.strip():
        raise Invalid("A payment by arrangement needs a reason.", "Say who agreed to what.")
    billing.mark_paid_manually(session, jobs, user, actor)
    log.info("paid_manually", user_id=user.id, actor=actor, reason=reason)
    instance = instances.of_user(session, user.id)
    if instance is not None:
        text = "Noted a payment by arrangement"
        instances.record(session, instance, actor=actor, kind="payment", text=text, why=reason)


def end_payment(session: Session, jobs: Jobs, user: User, *, actor: str) -> None:
    """End a payment by arrangement: the instance is deleted. Raises Conflict if there is none."""
    billing.end_manual_payment(session, jobs, user, actor)
    log.info("manual_payment_ended", user_id=user.id, actor=actor)


def set_role(user: User, role: str, actor: str) -> None:
    """Give a user a role; Invalid if there is no such role."""
    if role not in ROLES:
        raise Invalid(f"There is no role {role}.", f"Use one of {', '.join(ROLES)}.")
    known: Role = role
    log.info("role_given", user_id=user.id, role=role, before=user.role, actor=actor)
    user.role = known


def replay(session: Session, jobs: Jobs, event_id: str, actor: str) -> None:
    """Handle an event of Stripe's once more; NotFound if we never had it."""
    event = session.get(WebhookEvent, event_id, with_for_update=True)
    if event is None:
        raise NotFound("There is no such event.", "The list of webhooks shows those we have.")
    event.handled_at = None
    log.info("webhook_replayed", event_id=event.id, actor=actor)
    key = f"webhook-{event.id}-replay-{int(clock.now().timestamp() * 1000)}"
    jobs.enqueue(session, "handle_webhook", event.id, key=key)
