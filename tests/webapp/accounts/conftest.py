from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from tests.webapp.conftest import Letters
from webapp.http.context import Clawdet
from webapp.mail.jobs import send_letter
from webapp.mail.models import Letter
from webapp.settings import WebSettings

Mailbox = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def settings(settings: WebSettings) -> WebSettings:
    """Some chat before they sign in: with a model that is served."""
    return settings.model_copy(update={"clawdet_trial_model": "claude-sonnet-4-6"})


@pytest.fixture
def mailbox(c: Clawdet, letters: Letters) -> Mailbox:
    """Sends what waits, as the worker does, and reads what has arrived, newest first."""

    def read() -> list[dict[str, Any]]:
        with c.db.read() as session:
            waiting = session.scalars(select(Letter.id).where(Letter.sent_at.is_(None))).all()
        for letter_id in waiting:
            send_letter(c, letter_id)
        return letters()

    return read
