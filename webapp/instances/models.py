"""Instances, what has happened to them, what is being done to them, and how far it is."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.clock import now
from webapp.database import Base, Encrypted, UtcDateTime
from webapp.identifiers import new_id
from webapp.instances.states import Desired, Status

BIG = BigInteger().with_variant(Integer, "sqlite")

ActionKind = Literal[
    "restart", "power_on", "power_off", "rebuild", "rotate_token", "apply", "refresh", "drift",
    "preview",
]  # fmt: skip


class Instance(Base):
    """A personal assistant on its own server.

    `desired`, `powered_on`, `release` say what should be; each change of them, and each action,
    raises `generation`. The reconciler writes what it saw, and `observed_generation` when the
    world matched that generation.
    """

    __tablename__ = "instances"
    __table_args__ = (
        Index(
            "uq_instances_slug",
            "slug",
            unique=True,
            sqlite_where=text("status <> 'deleted'"),
            postgresql_where=text("status <> 'deleted'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: new_id("ins"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    slug: Mapped[str] = mapped_column(String(63))

    desired: Mapped[Desired] = mapped_column(String(20), default="running")
    powered_on: Mapped[bool] = mapped_column(default=True)
    """What the customer wants of the power, while `desired` is running."""
    held: Mapped[bool] = mapped_column(default=False)
    """An operator has suspended it: payments do not bring it back, an operator does."""
    generation: Mapped[int] = mapped_column(Integer, default=1)
    observed_generation: Mapped[int] = mapped_column(Integer, default=0)

    status: Mapped[Status] = mapped_column(String(20), default="pending", index=True)
    status_since: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    failed_step: Mapped[str] = mapped_column(String(40), default="")
    failure: Mapped[str] = mapped_column(Text, default="")
    """What went wrong, for the person who reads it."""
    remedy: Mapped[str] = mapped_column(Text, default="")
    needs_approval: Mapped[bool] = mapped_column(default=False)
    """The plan would replace or delete a server that should be running: an operator decides."""
    failures_in_a_row: Mapped[int] = mapped_column(Integer, default=0)
    retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    server_id: Mapped[str] = mapped_column(String(40), default="")
    ipv4: Mapped[str] = mapped_column(String(45), default="")
    location: Mapped[str] = mapped_column(String(20), default="")
    release: Mapped[str] = mapped_column(String(200), default="")
    gateway_token: Mapped[str | None] = mapped_column(Encrypted)
    final_backup: Mapped[str] = mapped_column(String(100), default="")

    gateway_ms: Mapped[int | None] = mapped_column(Integer)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it last answered from outside, and in `gateway_ms` how quickly."""
    drift: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    drift_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, onupdate=now)
    live_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    alerted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Action(Base):
    """Something to be done once: asked for in the transaction that enqueues the reconciler, done
    by it in order. `claimed_at` without `done_at`: begun, perhaps cut short."""

    __tablename__ = "actions"

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id"), index=True)
    kind: Mapped[ActionKind] = mapped_column(String(20))
    approved: Mapped[bool] = mapped_column(default=False)
    """An operator has typed the approval for replacing or deleting the server."""
    asked_by: Mapped[str] = mapped_column(String(80))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str] = mapped_column(Text, default="")


class InstanceEvent(Base):
    """A line of the timeline and the audit log: who did what, why and when. Never changed."""

    __tablename__ = "instance_events"

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    actor: Mapped[str] = mapped_column(String(80))
    """`customer alice`, `operator bob`, `stripe`, `clawdet`."""
    kind: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text, default="")


class Operation(Base):
    """One run of the reconciler on the stack: what, when, how it ended, what it (would have)
    changed."""

    __tablename__ = "operations"

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    generation: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(20), default="")
    """"" while it runs; succeeded, failed, needs_approval, cancelled, interrupted."""
    error: Mapped[str] = mapped_column(Text, default="")
    changes: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    cancel_requested: Mapped[bool] = mapped_column(default=False)


class Progress(Base):
    """A line of an operation's live log. Its id is the event id that a browser resumes from."""

    __tablename__ = "progress"

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id"), index=True)
    operation_id: Mapped[int] = mapped_column(ForeignKey("operations.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    step: Mapped[str] = mapped_column(String(40), default="")
    """One of states.STEPS, or "" for a plain line."""
    resource: Mapped[str] = mapped_column(String(80), default="")
    state: Mapped[str] = mapped_column(String(20), default="")
    """started, done, failed; "" for a plain line."""
    seconds: Mapped[float | None] = mapped_column()
    text: Mapped[str] = mapped_column(Text, default="")
