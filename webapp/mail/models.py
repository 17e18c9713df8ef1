"""Letters to be sent, and those that were."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.clock import now
from webapp.database import Base, Encrypted, UtcDateTime
from webapp.identifiers import new_id


class Letter(Base):
    """An e-mail: the template and its context (encrypted: it may hold a link that signs in)."""

    __tablename__ = "letters"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: new_id("ltr"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    recipient: Mapped[str] = mapped_column(String(254))
    template: Mapped[str] = mapped_column(String(40))
    context: Mapped[str] = mapped_column(Encrypted)
    """JSON; the template's values."""
    key: Mapped[str] = mapped_column(String(120), unique=True)
    """What it is about, once: the same key is never sent twice."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str] = mapped_column(Text, default="")
