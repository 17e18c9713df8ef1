"""What the dashboard says of an instance: one headline, what it means, and which levers move."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.instances.models import Action, Instance
from webapp.instances.states import WORKING
from webapp.instances.timeline import PLACES

Kind = Literal["running", "waiting", "failed", "off"]

SEEN_LATELY = timedelta(minutes=15)

_WAITS = {
    "restart": "Restart",
    "power_on": "Switching on",
    "power_off": "Switching off",
    "rebuild": "Rebuild",
    "rotate_token": "New gateway token",
    "apply": "Applying changes",
    "refresh": "Looking at the clouds",
    "drift": "Drift check",
    "preview": "Preview",
}


@dataclass(frozen=True)
class Headline:
    """The state in a few words, and what it means for the reader, if that needs saying."""

    kind: Kind
    text: str
    meaning: str = ""


@dataclass(frozen=True)
class WaitingAction:
    """Something that was asked for and is not done: `begun` or waiting for its turn."""

    text: str
    asked_at: datetime
    begun: bool


def headline(instance: Instance, at: datetime) -> Headline:
    """What is so now, as far as we have seen."""
    if instance.status == "deleted":
        return Headline("off", "Deleted", "Its record and its history stay here.")
    if instance.desired == "deleted" or instance.status == "deleting":
        meaning = "A last backup is kept, then the server and everything on it is removed."
        return Headline("waiting", "Being deleted", meaning)
    if instance.needs_approval and instance.status != "complete":
        meaning = "A change would replace your server. One of us looks at it before it happens."
        return Headline("waiting", "Waiting for us", meaning)
    if instance.desired == "suspended" or instance.status == "suspended":
        return _suspended(instance)
    if instance.status == "failed":
        return Headline("failed", "Something failed", f"{instance.failure} {instance.remedy}")
    if instance.status in WORKING:
        return Headline("waiting", "Work in progress", "Your server is being set up.")
    return _complete(instance, at)


def is_busy(instance: Instance) -> bool:
    """Whether something is being done, or about to be, without anybody doing anything."""
    stands = instance.status == "failed" or instance.needs_approval
    behind = instance.generation > instance.observed_generation
    return instance.status in WORKING or (behind and not stands)


def may_open(instance: Instance) -> bool:
    """Whether somebody may answer at its address."""
    return instance.status == "complete" and instance.powered_on and instance.desired == "running"


def may_use(instance: Instance) -> bool:
    """Whether the levers move: it should be running."""
    return instance.desired == "running" and instance.status not in ("deleting", "deleted")


def waiting_actions(session: Session, instance_id: str) -> list[WaitingAction]:
    """What was asked for and is not done, oldest first."""
    rows = session.scalars(
        select(Action)
        .where(Action.instance_id == instance_id, Action.done_at.is_(None))
        .order_by(Action.id)
    )
    return [WaitingAction(_WAITS[a.kind], a.asked_at, a.claimed_at is not None) for a in rows]


def _suspended(instance: Instance) -> Headline:
    if instance.desired == "running":
        return Headline("waiting", "Coming back", "Your server is being switched on again.")
    if instance.status != "suspended":
        return Headline("waiting", "Being suspended", "Your server is being switched off.")
    if instance.held:
        meaning = "We switched your server off; everything on it is kept. Write to us."
        return Headline("off", "Held by us", meaning)
    meaning = "Your server is off and everything on it is kept for now."
    return Headline("off", "Suspended: pay to bring it back", meaning)


def _complete(instance: Instance, at: datetime) -> Headline:
    settled = not is_busy(instance)
    if not instance.powered_on:
        if not settled:
            return Headline("waiting", "Switching off")
        return Headline("off", "Off", "You switched it off. Nothing is lost.")
    place = PLACES.get(instance.location, "")
    if instance.seen_at is not None and at - instance.seen_at > SEEN_LATELY:
        meaning = "It has not answered us lately. A restart may help; we look at it as well."
        return Headline("waiting", "Not answering", meaning)
    return Headline("running", f"Running in {place}" if place else "Running")
