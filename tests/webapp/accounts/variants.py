"""The application with other settings than a test's usual ones."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from webapp.app import create_app
from webapp.http.context import EXTENSION
from webapp.http.limits import limiter
from webapp.settings import WebSettings


@contextmanager
def variant(settings: WebSettings, **changed: object) -> Iterator[Flask]:
    """On the same database; nothing is counted against its rate limits yet."""
    app = create_app(settings.model_copy(update=changed))
    with app.app_context():
        limiter.reset()
    yield app
    context = app.extensions[EXTENSION]
    context.jobs.close()
    context.db.close()
