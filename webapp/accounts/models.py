"""Users, their sessions, attempts to sign in, links that verify an e-mail address."""

from datetime import datetime
from typing import Literal

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.clock import now
from webapp.database import Base, Encrypted, UtcDateTime
from webapp.identifiers import new_id

Role = Literal["customer", "viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("customer", "viewer", "operator", "admin")
PaymentMethod = Literal["stripe", "manual"]


class User(Base):
    """Somebody who has signed in with X. `deleted_at`: the account is closed, what identified the
    person is emptied, and the row stays for the record."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: new_id("usr"))
    x_id: Mapped[str | None] = mapped_column(String(32), unique=True)
    x_username: Mapped[str] = mapped_column(String(50))
    x_name: Mapped[str] = mapped_column(String(200))
    x_profile_image: Mapped[str | None] = mapped_column(String(500))
    email: Mapped[str | None] = mapped_column(String(254))
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    terms_version: Mapped[str | None] = mapped_column(String(20))
    terms_accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    role: Mapped[Role] = mapped_column(String(20), default="customer")
    slug: Mapped[str | None] = mapped_column(String(63))
    """The name they chose for their instance, before there is one."""
    payment_method: Mapped[PaymentMethod | None] = mapped_column(String(20))
    paid_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stripe_customer_id: Mapped[str | None] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, onupdate=now)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    is_authenticated = True  # for flask-login
    is_active = True
    is_anonymous = False

    def get_id(self) -> str:
        """For flask-login."""
        return self.id

    @property
    def is_operator(self) -> bool:
        """Whether the fleet's pages are theirs to see."""
        return self.role != "customer"

    @property
    def may_operate(self) -> bool:
        """Whether they may change other people's instances."""
        return self.role in ("operator", "admin")


class SignIn(Base):
    """A signed-in browser. Its cookie holds the token; we keep the hash."""

    __tablename__ = "sign_ins"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    user_agent: Mapped[str] = mapped_column(String(300), default="")


class SignInAttempt(Base):
    """One way to X and back: usable once, for ten minutes, by the browser that has its cookie."""

    __tablename__ = "sign_in_attempts"

    state_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    code_verifier: Mapped[str] = mapped_column(Encrypted)
    next_path: Mapped[str] = mapped_column(String(500))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class EmailLink(Base):
    """A mailed link that proves an address."""

    __tablename__ = "email_links"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    email: Mapped[str] = mapped_column(String(254))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
