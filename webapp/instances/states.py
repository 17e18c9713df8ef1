"""An instance's states, and which may follow which."""

from typing import Literal

from webapp.errors import Conflict

Desired = Literal["running", "suspended", "deleted"]
Status = Literal[
    "pending",
    "creating_vps",
    "configuring_dns",
    "installing",
    "complete",
    "failed",
    "suspended",
    "deleting",
    "deleted",
]

STEPS: tuple[Status, ...] = ("creating_vps", "configuring_dns", "installing")
WORKING: tuple[Status, ...] = ("pending", *STEPS, "deleting")

_MAKING: frozenset[Status] = frozenset({*STEPS, "complete", "failed", "suspended", "deleting"})
TRANSITIONS: dict[Status, frozenset[Status]] = {
    "pending": _MAKING,
    "creating_vps": _MAKING,
    "configuring_dns": _MAKING,
    "installing": _MAKING,
    "complete": frozenset({*STEPS, "pending", "failed", "suspended", "deleting"}),
    "failed": frozenset({*STEPS, "pending", "complete", "suspended", "deleting"}),
    "suspended": frozenset({*STEPS, "pending", "complete", "failed", "deleting"}),
    "deleting": frozenset({"deleted", "failed"}),
    "deleted": frozenset(),
}


def check_transition(old: Status, new: Status) -> None:
    """Raise Conflict unless `new` may follow `old`; staying is allowed."""
    if new != old and new not in TRANSITIONS[old]:
        raise Conflict(f"An instance that is {old} cannot become {new}.")
