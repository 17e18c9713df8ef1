"""Sending a letter: rendered from its template, in text and HTML."""

import json
from pathlib import Path

import structlog
from jinja2 import Environment, FileSystemLoader, select_autoescape

from webapp import clock
from webapp.adapters.mailer import Mailer, Post
from webapp.errors import ClawdetError, Invalid
from webapp.http.context import Clawdet
from webapp.mail.models import Letter
from webapp.settings import WebSettings

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates"

log = structlog.get_logger("mail")

_templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html"]))


def send_letter(c: Clawdet, letter_id: str) -> None:
    """Send it unless it was sent, or is gone. Raises Unavailable to be run again; a refused one is
    left."""
    with c.db.begin() as session:
        letter = session.get(Letter, letter_id)
        if letter is None or letter.sent_at:  # forgotten, or sent
            return
        letter.tries += 1
    try:
        mailer_of(c.settings).send(render(letter, c.settings))
    except ClawdetError as error:
        _keep(c, letter_id, str(error))
        if not isinstance(error, Invalid):
            raise
        log.error("letter_refused", letter=letter_id, template=letter.template, error=str(error))
        return
    _keep(c, letter_id, "")


def render(letter: Letter, settings: WebSettings) -> Post:
    """The letter in full."""
    context = {"support": settings.clawdet_support_email, **json.loads(letter.context)}

    def part(kind: str) -> str:
        name = f"emails/{letter.template}.{kind}"
        return _templates.get_template(name).render(context)

    subject = part("subject.txt").strip()
    return Post(letter.id, letter.recipient, subject, part("txt"), part("html"), clock.now())


def mailer_of(settings: WebSettings) -> Mailer:
    """The mail server of the settings."""
    return Mailer(
        settings.smtp_url,
        settings.mail_from,
        settings.clawdet_support_email,
        settings.clawdet_adapter_timeout_s,
    )


def _keep(c: Clawdet, letter_id: str, error: str) -> None:
    with c.db.begin() as session:
        letter = session.get_one(Letter, letter_id)
        letter.error = error
        letter.sent_at = None if error else clock.now()
