import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from sandbox.supervisor import Sandbox
from tests.webapp.accounts.variants import variant
from tests.webapp.conftest import SignInAs, csrf
from tests.webapp.trial.conftest import MODEL, Fault
from webapp.database import Database
from webapp.settings import WebSettings
from webapp.trial.models import ChatMessage, IpAllowance, TrialSpend, TrialVisit

Told = tuple[str, dict[str, Any]]

STREAM = {"Accept": "text/event-stream"}


def ask(
    client: FlaskClient, message: object, headers: dict[str, str] | None = None
) -> TestResponse:
    token = csrf(client)
    return client.post(
        "/api/trial-chat",
        json={"message": message},
        headers={"X-CSRFToken": token, **(headers or {})},
    )


def send(client: FlaskClient, message: str) -> TestResponse:
    return client.post("/trial", data={"message": message, "csrf_token": csrf(client)})


def events_of(answer: TestResponse) -> list[Told]:
    blocks = answer.get_data(as_text=True).strip().split("\n\n")
    pairs = [block.split("\n") for block in blocks]
    return [(e.removeprefix("event: "), json.loads(d.removeprefix("data: "))) for e, d in pairs]


def counted(db: Database) -> tuple[int, int, int]:
    """What the visits, the networks and the day have used."""
    with db.read() as session:
        sums = [
            session.scalar(select(func.coalesce(func.sum(column), 0)))
            for column in (TrialVisit.used, IpAllowance.used, TrialSpend.micro_usd)
        ]
    visits, networks, spent = map(int, map(str, sums))
    return visits, networks, spent


def said(db: Database) -> list[str]:
    with db.read() as session:
        return list(session.scalars(select(ChatMessage.text).order_by(ChatMessage.id)))


def test_the_first_page_offers_five_messages_and_keeps_nothing_of_who_only_looks(
    client: FlaskClient, db: Database
) -> None:
    page = client.get("/").text
    assert "<span data-remaining>5</span> of 5 free messages left" in page
    assert counted(db) == (0, 0, 0)


def test_the_visits_cookie_is_out_of_reach_of_scripts(client: FlaskClient) -> None:
    headers = client.get("/").headers.getlist("Set-Cookie")
    (header,) = [c for c in headers if c.startswith("trial=")]
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header


def test_without_javascript_the_page_comes_back_with_the_answer(
    client: FlaskClient, db: Database
) -> None:
    answer = send(client, "hello")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    page = client.get("/").text
    assert "You said: hello" in page
    assert "<span data-remaining>4</span>" in page


def test_the_api_answers_in_json(client: FlaskClient) -> None:
    answer = ask(client, "hello")
    assert answer.get_json() == {"reply": "You said: hello", "remaining": 4}


def test_the_api_streams_to_who_asks_for_it(client: FlaskClient) -> None:
    answer = ask(client, "one two three", STREAM)
    assert answer.content_type == "text/event-stream; charset=utf-8"
    found = events_of(answer)
    deltas = [data["text"] for event, data in found if event == "delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == "You said: one two three"
    assert found[-1] == ("done", {"remaining": 4})


def test_the_model_is_told_what_was_said_before(
    client: FlaskClient, sandbox: Sandbox, outside: requests.Session
) -> None:
    ask(client, "first")
    ask(client, "second")
    url = f"{sandbox.admin_url}/requests"
    log = outside.get(url, timeout=60).json()["requests"]
    sent = [one["body"] for one in log if one["vendor"] == "anthropic"][-1]
    assert [(turn["role"], turn["content"]) for turn in sent["messages"]] == [
        ("user", "first"),
        ("assistant", "You said: first"),
        ("user", "second"),
    ]
    assert sent["model"] == MODEL
    assert sent["max_tokens"] == 600
    assert sent["system"]


@pytest.mark.parametrize("attack", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_what_is_said_is_shown_as_text(client: FlaskClient, attack: str) -> None:
    send(client, attack)
    page = client.get("/").text
    assert attack not in page
    assert "alert(1)" in page


def test_after_the_fifth_message_the_page_leads_to_the_sign_in(
    client: FlaskClient, db: Database
) -> None:
    for number in range(5):
        assert send(client, f"message {number}").status_code == 303
    page = client.get("/").text
    assert 'name="message"' not in page
    assert "Those were your 5 free messages." in page
    assert 'href="/sign-in"' in page
    sixth = send(client, "one more")
    assert sixth.status_code == 429
    assert "one more" not in said(db)


def test_the_api_says_when_the_allowance_is_used_up(client: FlaskClient) -> None:
    remaining = [ask(client, "hello").get_json()["remaining"] for _ in range(5)]
    assert remaining == [4, 3, 2, 1, 0]
    sixth = ask(client, "hello", STREAM)
    assert sixth.status_code == 429
    assert sixth.content_type == "application/problem+json"
    assert sixth.get_json()["code"] == "trial_over"


def test_many_tabs_at_once_do_not_get_more(app: Flask, db: Database) -> None:
    first = app.test_client()
    token = csrf(first)
    cookies = {name: first.get_cookie(name) for name in ("trial", "clawdet")}

    def tab(number: int) -> int:
        client = app.test_client()
        for name, cookie in cookies.items():
            assert cookie
            client.set_cookie(name, cookie.value)
        body = {"message": f"tab {number}"}
        answer = client.post("/api/trial-chat", json=body, headers={"X-CSRFToken": token})
        return answer.status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(pool.map(tab, range(10)))
    assert statuses == [200] * 5 + [429] * 5
    assert counted(db)[:2] == (5, 5)
    assert len(said(db)) == 10


def test_a_cookie_thrown_away_does_not_help_for_long(settings: WebSettings, db: Database) -> None:
    with variant(settings, clawdet_trial_messages_per_ip_a_day=3) as app:
        answers = [ask(app.test_client(), "hello") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert "from your network for today" in answers[-1].get_json()["title"]
        assert counted(db)[:2] == (3, 3)


def test_no_address_is_kept_and_a_household_counts_as_one(app: Flask, db: Database) -> None:
    addresses = ["203.0.113.7", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"]
    for address in addresses:
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = address
        assert ask(client, "hello").status_code == 200
    with db.read() as session:
        hashes = session.scalars(select(TrialVisit.ip_hash)).all()
        used = sorted(session.scalars(select(IpAllowance.used)))
    assert used == [1, 1, 2]
    assert all(len(found) == 64 for found in hashes)
    with db.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM trial_visits, trial_ip_allowances").all()
    assert not any(address in str(kept) for address in addresses)


def test_when_the_days_budget_is_spent_nobody_is_charged_a_message(
    settings: WebSettings, db: Database
) -> None:
    with variant(settings, clawdet_trial_budget_usd_a_day=0.0) as app:
        client = app.test_client()
        answer = ask(client, "hello")
        assert answer.status_code == 503
        assert answer.get_json()["code"] == "trial_budget"
        assert "rests until tomorrow" in answer.get_json()["title"]
        assert counted(db) == (0, 0, 0)
        page = send(client, "hello")
        assert page.status_code == 503
        assert "rests until tomorrow" in page.text


def test_the_budget_counts_what_answers_have_cost(
    client: FlaskClient, db: Database, sandbox: Sandbox, outside: requests.Session
) -> None:
    ask(client, "hello")
    url = f"{sandbox.admin_url}/requests"
    log = outside.get(url, timeout=60).json()["requests"]
    sent = [one["body"] for one in log if one["vendor"] == "anthropic"][-1]
    tokens_in = len(f"{sent['system']} hello".split())  # the sandbox's token is a word
    assert counted(db)[2] == pytest.approx(tokens_in * 3 + 3 * 15, abs=200)


def test_the_budget_cannot_be_exceeded_by_asking_at_once(
    settings: WebSettings, db: Database
) -> None:
    budget = 0.025
    with variant(settings, clawdet_trial_budget_usd_a_day=budget) as app:
        clients = [app.test_client() for _ in range(8)]
        tokens = [csrf(client) for client in clients]

        def one(pair: tuple[FlaskClient, str]) -> int:
            client, token = pair
            headers = {"X-CSRFToken": token}
            answer = client.post("/api/trial-chat", json={"message": "hello"}, headers=headers)
            return answer.status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(one, zip(clients, tokens, strict=True)))
        assert set(statuses) <= {200, 503}
        assert 200 in statuses
        assert 0 < counted(db)[2] <= budget * 1_000_000


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 500},
        {"status": 529},
        {"status": 429},
        {"status": 401},
        {"status": 404},
        {"kind": "timeout"},
        {"kind": "lost_response"},
        {"status": 200, "body": "<html>gateway</html>"},
    ],
    ids=str,
)
def test_a_failure_of_the_model_is_shown_as_one_and_does_not_count(
    client: FlaskClient, fault: Fault, db: Database, rule: dict[str, Any]
) -> None:
    fault(**rule)
    answer = ask(client, "hello")
    assert answer.status_code == 503
    told = answer.get_json()
    assert told["title"].startswith("The assistant")
    assert told["detail"].endswith("Your message was not counted.")
    page = send(client, "hello")
    assert page.status_code == 503
    assert told["title"].replace("'", "&#39;") in page.text
    assert counted(db)[:2] == (0, 0)
    assert said(db) == []
    assert "<span data-remaining>5</span>" in client.get("/").text


def test_what_was_not_answered_stays_in_the_box(client: FlaskClient, fault: Fault) -> None:
    fault(status=500)
    assert "a long letter</textarea>" in send(client, "a long letter").text


def test_a_wrong_key_of_ours_is_logged_for_the_operators(
    settings: WebSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    with variant(settings, anthropic_api_key=settings.stripe_secret_key) as app:
        answer = ask(app.test_client(), "hello")
        assert answer.status_code == 503
        assert "The fault is ours" in answer.get_json()["detail"]
        logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (refusal,) = [line for line in logged if line["event"] == "model_refuses_us"]
        assert refusal["level"] == "error"
        assert settings.stripe_secret_key.get_secret_value() not in str(logged)


def told_by_the_model(*events: Told) -> str:
    return "".join(
        f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events
    )


START: Told = (
    "message_start",
    {
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 1},
        }
    },
)
BLOCK: Told = ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
HALF: Told = ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Half"}})
ERROR: Told = ("error", {"error": {"type": "overloaded_error", "message": "overloaded"}})


@pytest.mark.parametrize("end", [(), (ERROR,)], ids=["cut off", "with an error"])
def test_an_answer_that_breaks_off_does_not_count(
    client: FlaskClient, fault: Fault, db: Database, end: tuple[Told, ...]
) -> None:
    body = told_by_the_model(START, BLOCK, HALF, *end)
    fault(status=200, body=body, headers={"Content-Type": "text/event-stream"})
    found = events_of(ask(client, "hello", STREAM))
    assert found[0] == ("delta", {"text": "Half"})
    event, told = found[-1]
    assert event == "error"
    assert told["title"] == "The assistant did not answer."
    assert told["remaining"] == 5
    assert counted(db)[:2] == (0, 0)
    assert said(db) == []
    assert ask(client, "hello").status_code == 503, "the same without a stream"


def test_an_empty_answer_is_none(client: FlaskClient, fault: Fault, db: Database) -> None:
    body = told_by_the_model(START, ("message_stop", {}))
    fault(status=200, body=body, headers={"Content-Type": "text/event-stream"})
    answer = ask(client, "hello")
    assert answer.status_code == 503
    assert "nothing to say" in answer.get_json()["title"]
    assert counted(db)[:2] == (0, 0)


def test_who_leaves_in_the_middle_has_used_a_message_and_finds_what_came(
    client: FlaskClient, db: Database
) -> None:
    answer = ask(client, "one two three four five", STREAM)
    assert b"You" in next(answer.iter_encoded())
    answer.close()
    assert counted(db)[:2] == (1, 1)
    question, kept = said(db)
    assert question == "one two three four five"
    assert kept
    assert "You said: one two three four five".startswith(kept)
    assert len(kept) < len("You said: one two three four five")
    assert ask(client, "and now?").status_code == 200


@pytest.mark.parametrize("message", ["", "   ", "\n\t", "x" * 2001])
def test_a_message_that_is_empty_or_too_long_is_refused(
    client: FlaskClient, db: Database, message: str
) -> None:
    assert ask(client, message).status_code == 400
    assert send(client, message).status_code == 400
    assert counted(db) == (0, 0, 0)


def test_a_line_end_counts_as_one_character(client: FlaskClient, db: Database) -> None:
    assert send(client, "\r\n".join("x" * 1000)).status_code == 303
    assert len(said(db)[0]) == 1999


@pytest.mark.parametrize("message", [None, 5, ["a"], {"a": 1}, "half \ud83e pair"])
def test_json_that_makes_no_sense_is_refused(client: FlaskClient, message: object) -> None:
    answer = ask(client, message)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("body", ["", "{", "[]", '"text"', "null", "\xff"])
def test_what_is_no_json_is_refused(client: FlaskClient, body: str) -> None:
    headers = {"X-CSRFToken": csrf(client)}
    answer = client.post("/api/trial-chat", data=body.encode("latin-1"), headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("message", ["a\0b", "claw \U0001f980"])
def test_odd_characters_do_no_harm(client: FlaskClient, message: str) -> None:
    answer = ask(client, message)
    assert answer.status_code == 200
    assert client.get("/").status_code == 200


def test_another_site_cannot_spend_somebodys_messages(client: FlaskClient, db: Database) -> None:
    client.get("/")
    assert client.post("/trial", data={"message": "hello"}).status_code == 400
    assert client.post("/api/trial-chat", json={"message": "hello"}).status_code == 400
    assert counted(db) == (0, 0, 0)


def test_both_doors_share_the_limit_of_an_address(settings: WebSettings) -> None:
    with variant(settings, clawdet_trial_limit="3 per minute") as app:
        client = app.test_client()
        token = csrf(client)
        doors = ["/trial", "/api/trial-chat", "/trial", "/api/trial-chat"]
        headers = {"X-CSRFToken": token}
        statuses = [client.post(door, headers=headers).status_code for door in doors]
        assert statuses == [400, 400, 400, 429]


def test_who_signs_in_takes_the_chat_along(
    client: FlaskClient, sign_in: SignInAs, db: Database
) -> None:
    send(client, "remember the milk")
    user = sign_in(client)
    with db.read() as session:
        assert session.scalars(select(TrialVisit.user_id)).all() == [user.id]
    page = client.get("/").text
    assert "remember the milk" in page
    assert "<span data-remaining>4</span>" in page


def test_in_a_shared_browser_the_next_person_sees_nothing_of_it(
    client: FlaskClient, sign_in: SignInAs, sandbox: Sandbox, outside: requests.Session
) -> None:
    send(client, "remember the milk")
    sign_in(client)
    client.post("/sign-out", data={"csrf_token": csrf(client)})
    assert "remember the milk" not in client.get("/").text
    sign_in(client, "bob_builder")
    page = client.get("/").text
    assert "remember the milk" not in page
    assert "<span data-remaining>4</span>" in page, "the messages stay used"
    ask(client, "what was I to remember?")
    log = outside.get(f"{sandbox.admin_url}/requests", timeout=60).json()["requests"]
    sent = [one["body"] for one in log if one["vendor"] == "anthropic"][-1]
    assert "milk" not in str(sent["messages"])


def test_the_first_page_stands_while_stripe_does_not(
    client: FlaskClient, sandbox: Sandbox, outside: requests.Session
) -> None:
    rule = {"vendor": "stripe", "status": 500, "times": 100}
    outside.post(f"{sandbox.admin_url}/faults", json=rule, timeout=60).raise_for_status()
    answer = client.get("/")
    assert answer.status_code == 200
    assert "The price is shown before you pay" in answer.text


def test_the_first_page_tells_the_price_with_currency_and_period(client: FlaskClient) -> None:
    assert "a&nbsp;month" in client.get("/").text
