"""Letters are sent once, in text and HTML, and again and again until the server takes them."""

import socket
from collections.abc import Iterator

import pytest
import requests
from sqlalchemy import select

from sandbox.supervisor import Sandbox
from tests.webapp.conftest import Letters
from tests.webapp.working import Work
from webapp import clock
from webapp.adapters.mailer import Mailer, Post
from webapp.errors import Invalid, SettingsError, Unavailable
from webapp.http.context import Clawdet
from webapp.mail import jobs
from webapp.mail.models import Letter
from webapp.mail.service import post

NAMES = sorted(
    path.name.split(".")[0] for path in (jobs.TEMPLATES / "emails").glob("*.subject.txt")
)
CONTEXT = {
    "name": "Alice <b>",
    "address": "alice.clawdet.com",
    "link": "https://clawdet.com/dashboard?a=1&b=2",
    "amount": "€29.00",
    "date": "8 November 2026",
    "destroy_date": "22 November 2026",
    "failure": "No server & no room.",
}


def kept(c: Clawdet) -> list[Letter]:
    with c.db.read() as session:
        return list(session.scalars(select(Letter)))


def write(
    c: Clawdet, key: str = "one", to: str = "alice@example.com", template: str = "live"
) -> None:
    with c.db.begin() as session:
        post(session, c.jobs, to=to, template=template, key=key, **CONTEXT)


@pytest.fixture
def refusing(sandbox: Sandbox, outside: requests.Session) -> Iterator[None]:
    """The mail server takes no letter."""
    url = f"{sandbox.running.mail_url}api/refuse"
    outside.post(url, json={"refuse": True}, timeout=60)
    yield
    outside.post(url, json={"refuse": False}, timeout=60)


def test_a_letter_of_one_key_is_sent_once_though_its_job_runs_twice(
    c: Clawdet, work: Work, letters: Letters
) -> None:
    write(c)
    write(c)
    work(stacks=False)
    (letter,) = kept(c)
    with c.db.begin() as session:
        c.jobs.enqueue(session, "send_letter", letter.id, key="once-more")
    work(stacks=False)
    (sent,) = letters()
    assert sent["subject"] == "alice.clawdet.com is live"
    assert sent["to"] == ["alice@example.com"]
    (letter,) = kept(c)
    assert letter.sent_at
    assert (letter.tries, letter.error) == (1, "")


@pytest.mark.parametrize("name", NAMES)
def test_every_letter_says_the_same_in_text_and_html(
    c: Clawdet, work: Work, letters: Letters, name: str
) -> None:
    write(c, template=name)
    work(stacks=False)
    (sent,) = letters()
    assert sent["subject"]
    assert "\n" not in sent["subject"]
    for part in (sent["text"], sent["html"]):
        assert c.settings.clawdet_support_email in part
        assert "{{" not in part
    assert "Alice <b>" not in sent["html"]
    assert "&amp;" not in sent["text"]


def test_a_server_that_takes_no_letter_now_is_asked_again_later(
    c: Clawdet, work: Work, letters: Letters, refusing: None, sandbox: Sandbox
) -> None:
    write(c)
    work(stacks=False)
    (letter,) = kept(c)
    assert letter.sent_at is None
    assert letter.tries == 1
    assert "takes no letter now" in letter.error
    with c.db.read() as session:
        _, small = c.jobs.status(session)
    assert small.delayed == 1
    requests.post(f"{sandbox.running.mail_url}api/refuse", json={"refuse": False}, timeout=60)
    jobs.send_letter(c, letter.id)
    assert len(letters()) == 1
    assert kept(c)[0].error == ""


@pytest.mark.parametrize(
    "to",
    ["", "alice", "@example.com", "alice@example.com\nBcc: bob@example.com", "a@b.c, d@e.f",
     "Alice <alice@example.com>", "alice@example.com\r\n\r\nBuy"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(c: Clawdet, to: str) -> None:
    with pytest.raises(Invalid, match="no e-mail address"):
        write(c, to=to)
    assert kept(c) == []


def test_nothing_can_be_added_to_the_headers(c: Clawdet) -> None:
    mailer = Mailer(c.settings.smtp_url, "Clawdet <a@clawdet.com>", "help@clawdet.com", 15.0)
    for subject, to in (("A\nBcc: b@example.com", "c@example.com"), ("A", "c@example.com\nX: y")):
        with pytest.raises(Invalid, match="can't be addressed"):
            mailer.send(Post("ltr_1", to, subject, "text", "<p>html</p>", clock.now()))


def test_a_mail_server_that_is_not_there_may_come_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    mailer = Mailer(f"smtp://127.0.0.1:{port}", "a@clawdet.com", "help@clawdet.com", 15.0)
    with pytest.raises(Unavailable, match="does not answer"):
        mailer.send(Post("ltr_1", "b@example.com", "A", "text", "<p>html</p>", clock.now()))


@pytest.mark.parametrize("url", ["", "http://mail.example.com", "smtp://", "mail.example.com:25"])
def test_a_url_that_is_no_mail_servers_is_said(url: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL"):
        Mailer(url, "a@clawdet.com", "help@clawdet.com", 15.0)


def test_a_letter_that_is_gone_is_nobodys_job(c: Clawdet) -> None:
    jobs.send_letter(c, "ltr_gone")
    assert kept(c) == []
