import smtplib
import socket
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox import mail
from sandbox.clouds.store import Store
from sandbox.clouds.world import World
from sandbox.mail import MailSink
from tests.sandbox.clouds.live import Live, close_world, open_world

TIMEOUT_S = 60
Send = Callable[..., None]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = open_world(tmp_path)
    yield world
    close_world(world)


@pytest.fixture
def sink(world: World) -> Iterator[MailSink]:
    sink = MailSink(world.store)
    sink.start()
    yield sink
    sink.close()


@pytest.fixture
def pages(world: World) -> Iterator[httpx.Client]:
    live = Live(world, {"/mail": mail.blueprint})
    with httpx.Client(base_url=f"{live.url}/mail", timeout=TIMEOUT_S) as client:
        yield client
    live.close()


@pytest.fixture
def send(sink: MailSink) -> Send:
    """Sends a letter over SMTP: send("Hello", to="alice@example.com", html="<p>Hello")."""

    def by_smtp(text: str, to: str = "alice@example.com", html: str = "", **more: str) -> None:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=TIMEOUT_S) as client:
            client.send_message(letter(text, to, html, **more))

    return by_smtp


def letter(text: str, to: str, html: str = "", subject: str = "Greetings") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Clawdet <hello@clawdet.example>"
    message["To"] = to
    message["Subject"] = subject
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def letters(pages: httpx.Client, to: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pages.get("/api/letters", params={"to": to}).json()["letters"]
    return found


def test_a_letter_arrives_with_both_its_parts(pages: httpx.Client, send: Send) -> None:
    send("Grüße\nfrom here", html="<p>Grüße</p>", subject="Zażółć gęślą jaźń")
    (arrived,) = letters(pages)
    assert arrived["to"] == ["alice@example.com"]
    assert arrived["from"] == "hello@clawdet.example"
    assert arrived["subject"] == "Zażółć gęślą jaźń"
    assert arrived["text"] == "Grüße\nfrom here\n"
    assert arrived["html"] == "<p>Grüße</p>\n"
    assert arrived["received"].endswith("+00:00")


def test_links_are_found_in_the_text_without_the_sentence_around_them(
    pages: httpx.Client, send: Send
) -> None:
    url = "https://clawdet.example/confirm?token=a-b_c&next=/home"
    send(f"Open {url}. (Or http://clawdet.localhost:8000/help), then {url}", html="<p>https://no")
    assert letters(pages)[0]["links"] == [url, "http://clawdet.localhost:8000/help"]


def test_links_of_a_letter_without_text_come_from_its_html(
    pages: httpx.Client, sink: MailSink
) -> None:
    message = EmailMessage()
    message["Subject"] = "HTML only"
    message.set_content('<a href="https://clawdet.example/?a=1&amp;b=2">go</a>', subtype="html")
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=TIMEOUT_S) as client:
        client.send_message(message, "hello@clawdet.example", ["alice@example.com"])
    (arrived,) = letters(pages)
    assert arrived["text"] == ""
    assert arrived["links"] == ["https://clawdet.example/?a=1&b=2"]


def test_letters_come_newest_first_and_by_recipient(pages: httpx.Client, send: Send) -> None:
    for number, to in enumerate(["alice@example.com", "bob@example.com", "Alice@example.com"]):
        send(f"letter {number}", to=to)
    assert [one["text"] for one in letters(pages)] == ["letter 2\n", "letter 1\n", "letter 0\n"]
    assert [one["text"] for one in letters(pages, "alice@EXAMPLE.com")] == [
        "letter 2\n",
        "letter 0\n",
    ]
    assert letters(pages, "carol@example.com") == []


def test_deleting_forgets_every_letter(pages: httpx.Client, send: Send) -> None:
    send("Hello")
    assert pages.delete("/api/letters").status_code == 204
    assert letters(pages) == []
    send("Hello again")
    assert [one["text"] for one in letters(pages)] == ["Hello again\n"]


def test_only_the_newest_thousand_are_kept(pages: httpx.Client, sink: MailSink) -> None:
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=TIMEOUT_S) as client:
        for number in range(1002):
            message = f"Subject: {number}\r\n\r\n"
            client.sendmail("hello@clawdet.example", ["alice@example.com"], message)
    subjects = [one["subject"] for one in letters(pages)]
    assert (len(subjects), subjects[0], subjects[-1]) == (1000, "1001", "2")


def test_letters_are_refused_on_request(pages: httpx.Client, send: Send) -> None:
    assert pages.post("/api/refuse", json={"refuse": True}).json() == {"refuse": True}
    with pytest.raises(smtplib.SMTPDataError) as refused:
        send("Hello")
    assert refused.value.smtp_code == 451
    assert "refused" in pages.get("/").text
    pages.post("/api/refuse", json={"refuse": False})
    send("Hello")
    assert len(letters(pages)) == 1


def test_a_wrong_order_to_refuse_is_explained(pages: httpx.Client) -> None:
    answer = pages.post("/api/refuse", json={"refuse": "perhaps"})
    assert answer.status_code == 400
    assert "refuse" in answer.json()["error"]


def test_the_pages_show_letters_but_run_and_load_nothing_of_them(
    pages: httpx.Client, send: Send
) -> None:
    send(
        "See https://clawdet.example/x <b>",
        html='<script>alert(1)</script><img src="https://remote.example/p.png">',
        subject="<i>Subject</i>",
    )
    index = pages.get("/")
    assert "&lt;i&gt;Subject&lt;/i&gt;" in index.text
    page = pages.get(f"/{letters(pages)[0]['id']}")
    assert '<a href="https://clawdet.example/x"' in page.text
    assert "&lt;script&gt;" in page.text and "<script" not in page.text
    assert "allow-scripts" not in page.text
    assert "MIME-Version" in page.text
    for answer in (index, page):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_letter_that_is_not_there_is_missing(pages: httpx.Client) -> None:
    answer = pages.get("/7")
    assert answer.status_code == 404
    assert "Letter 7 is not here" in answer.text


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: \xff\xfe\r\nContent-Type: text/plain; charset=klingon\r\n\r\n\xc3\xa4\xff\r\n",
        b"no headers at all",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/pl",
        b"",
    ],
)
def test_a_broken_letter_is_shown_as_far_as_it_can_be(
    pages: httpx.Client, sink: MailSink, raw: bytes
) -> None:
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=TIMEOUT_S) as client:
        client.sendmail("", ["alice@example.com"], raw)
    (arrived,) = letters(pages, "alice@example.com")
    assert arrived["from"] == ""
    assert pages.get(f"/{arrived['id']}").status_code == 200


def test_letters_and_port_survive_a_restart(tmp_path: Path) -> None:
    port_file = tmp_path / mail.PORT_FILE
    ports = []
    for _ in range(2):
        world = open_world(tmp_path)
        sink = MailSink(world.store)
        sink.start_at(port_file)
        ports.append(sink.port)
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=TIMEOUT_S) as client:
            client.send_message(letter("Hello", "alice@example.com"))
        sink.close()
        count = len(world.store.all("mail.letter"))
        close_world(world)
    assert ports[0] == ports[1]
    assert count == 2


def test_a_port_that_somebody_took_is_left_to_them(world: World) -> None:
    port_file = world.directory / mail.PORT_FILE
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port_file.write_text(str(taken.getsockname()[1]))
        sink = MailSink(world.store)
        sink.start_at(port_file)
        assert sink.port != taken.getsockname()[1]
        assert int(port_file.read_text()) == sink.port
        sink.close()


def test_closing_hangs_up_on_those_who_are_connected(world: World) -> None:
    sink = MailSink(world.store)
    sink.start()
    with socket.create_connection(("127.0.0.1", sink.port), timeout=TIMEOUT_S) as client:
        assert client.recv(100).startswith(b"220 ")
        sink.close()
        assert client.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sink.port), timeout=TIMEOUT_S).close()


def test_a_sink_that_never_started_can_be_closed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite3")
    MailSink(store).close()
    store.close()
