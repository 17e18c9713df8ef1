import json
from datetime import timedelta

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from sandbox.supervisor import Sandbox
from tests.webapp.accounts.conftest import Mailbox
from tests.webapp.conftest import SignInAs, csrf
from webapp.accounts.jobs import clean_up
from webapp.accounts.models import EmailLink, SignIn, SignInAttempt, User
from webapp.clock import now
from webapp.database import Database
from webapp.http.context import Clawdet
from webapp.identifiers import hash_token
from webapp.instances.models import Instance, InstanceEvent, Operation, Progress
from webapp.mail.models import Letter
from webapp.trial.models import ChatMessage, IpAllowance, TrialVisit

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def chat(client: FlaskClient, message: str) -> None:
    data = {"message": message, "csrf_token": csrf(client)}
    assert client.post("/trial", data=data).status_code == 303


def fill_in(client: FlaskClient) -> None:
    page = "/signup/details"
    data = {"email": "alice@example.com", "slug": "alice", "terms": "y"}
    assert client.post(page, data={**data, "csrf_token": csrf(client, page)}).status_code == 303


def add_instance(db: Database, user: User) -> str:
    with db.begin() as session:
        instance = Instance(
            user_id=user.id, slug="alice", status="complete", gateway_token="the-gateway-token"
        )
        session.add(instance)
        session.flush()
        session.add(
            InstanceEvent(instance_id=instance.id, actor="stripe", kind="created", text="Ordered")
        )
    return instance.id


def close(client: FlaskClient, typed: str = "alice") -> int:
    data = {"confirm": typed, "csrf_token": csrf(client, "/settings")}
    return client.post("/settings/delete", data=data).status_code


def test_settings_show_the_person_the_address_and_the_browsers(
    client: FlaskClient, sign_in: SignInAs
) -> None:
    client.environ_base["HTTP_USER_AGENT"] = AGENT
    sign_in(client, "alice", "Alice Example")
    fill_in(client)
    page = client.get("/settings").text
    for text in ("Alice Example", "@alice", "alice@example.com", "Firefox on Linux", "this one"):
        assert text in page


def test_a_name_from_x_is_shown_as_text(client: FlaskClient, sign_in: SignInAs) -> None:
    sign_in(client, "alice", "<script>alert(1)</script>")
    page = client.get("/settings").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_export_holds_everything_but_our_secrets(
    client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    chat(client, "what do you know of me?")
    user = sign_in(client)
    fill_in(client)
    mailbox()
    add_instance(db, user)
    answer = client.post("/settings/export", data={"csrf_token": csrf(client, "/settings")})
    assert answer.headers["Content-Disposition"] == "attachment; filename=clawdet-alice.json"
    found = json.loads(answer.text)
    assert found["user"]["email"] == "alice@example.com"
    assert found["user"]["xId"] == user.x_id
    assert [m["text"] for m in found["chats"][0]["messages"]] == [
        "what do you know of me?",
        "You said: what do you know of me?",
    ]
    assert found["instances"][0]["gatewayToken"] == "the-gateway-token"
    assert found["instances"][0]["events"][0]["text"] == "Ordered"
    assert len(found["signedInBrowsers"]) == 1
    assert found["letters"][0]["template"] == "verify_email"
    for name in ("user_session", "trial"):
        cookie = client.get_cookie(name)
        assert cookie
        assert cookie.value not in answer.text
        assert hash_token(cookie.value) not in answer.text
    link = mailbox()[0]["links"][0]
    assert link.rpartition("/")[2] not in answer.text


def test_an_export_is_of_the_one_who_asks(
    app: Flask, client: FlaskClient, sign_in: SignInAs
) -> None:
    sign_in(client)
    fill_in(client)
    other = app.test_client()
    sign_in(other, "bob_builder")
    answer = other.post("/settings/export", data={"csrf_token": csrf(other, "/settings")})
    assert "alice" not in answer.text


@pytest.mark.parametrize("typed", ["", "bob", "delete"])
def test_an_account_is_deleted_only_once_its_handle_is_typed(
    client: FlaskClient, sign_in: SignInAs, typed: str
) -> None:
    sign_in(client)
    data = {"confirm": typed, "csrf_token": csrf(client, "/settings")}
    answer = client.post("/settings/delete", data=data)
    assert answer.status_code == 422
    assert "Type alice to confirm. Nothing was deleted." in answer.text
    assert client.get("/api/me").status_code == 200


def test_deleting_an_account_empties_the_person_and_signs_out_everywhere(
    app: Flask, client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    chat(client, "a secret")
    user = sign_in(client)
    other = app.test_client()
    sign_in(other)
    fill_in(client)
    mailbox()
    assert close(client, "@Alice") == 303
    assert client.get("/api/me").status_code == other.get("/api/me").status_code == 401
    with db.read() as session:
        kept = session.get_one(User, user.id)
        counts = [
            session.scalar(select(func.count()).select_from(model))
            for model in (SignIn, EmailLink, ChatMessage)
        ]
        letter = session.scalars(select(Letter)).one()
        visit = session.scalars(select(TrialVisit)).one()
    assert (kept.x_username, kept.x_name) == ("deleted", "deleted")
    assert kept.deleted_at is not None
    gone = (kept.x_id, kept.email, kept.x_profile_image, kept.slug, kept.email_verified_at)
    assert gone == (None,) * 5
    assert counts == [0, 0, 0]
    assert (letter.recipient, letter.context) == ("", "{}")
    assert (visit.user_id, visit.ip_hash, visit.used) == (None, "", 1)


def test_whoever_comes_back_is_a_newcomer(client: FlaskClient, sign_in: SignInAs) -> None:
    first = sign_in(client)
    close(client)
    second = sign_in(client)
    assert second.id != first.id
    assert second.email is None


def test_the_instance_is_deleted_and_its_record_stays(
    client: FlaskClient, sign_in: SignInAs, db: Database
) -> None:
    user = sign_in(client)
    fill_in(client)
    instance_id = add_instance(db, user)
    assert close(client) == 303
    with db.read() as session:
        instance = session.get_one(Instance, instance_id)
        events = session.scalars(select(InstanceEvent).order_by(InstanceEvent.id)).all()
        kept = session.get_one(User, user.id)
    assert instance.desired == "deleted"
    assert events[0].text == "Ordered"
    assert events[-1].why == "they deleted their account"
    assert (kept.x_username, kept.email) == ("deleted", "alice@example.com")


def test_the_address_is_forgotten_when_the_instance_is_gone(
    client: FlaskClient, sign_in: SignInAs, db: Database, c: Clawdet
) -> None:
    user = sign_in(client, "alice", "Alice Example")
    fill_in(client)
    instance_id = add_instance(db, user)
    close(client)
    clean_up(c)
    with db.begin() as session:
        assert session.get_one(User, user.id).email == "alice@example.com"
        session.get_one(Instance, instance_id).status = "deleted"
    clean_up(c)
    with db.read() as session:
        kept = session.get_one(User, user.id)
    assert (kept.x_name, kept.email) == ("deleted", None)


def test_while_stripe_does_not_answer_nothing_is_deleted(
    client: FlaskClient,
    sign_in: SignInAs,
    db: Database,
    sandbox: Sandbox,
    outside: requests.Session,
) -> None:
    user = sign_in(client)
    with db.begin() as session:
        session.get_one(User, user.id).stripe_customer_id = "cus_alice"
    rule = {"vendor": "stripe", "status": 500, "times": 20}
    outside.post(f"{sandbox.admin_url}/faults", json=rule, timeout=60).raise_for_status()
    assert close(client) == 503
    assert client.get("/api/me").status_code == 200


def test_clean_up_takes_what_is_over_and_leaves_the_rest(
    client: FlaskClient, sign_in: SignInAs, db: Database, c: Clawdet
) -> None:
    user = sign_in(client)
    long_ago = now() - timedelta(days=91)
    with db.begin() as session:
        instance = Instance(user_id=user.id, slug="alice")
        session.add(instance)
        session.flush()
        operation = Operation(instance_id=instance.id, kind="up", generation=1)
        session.add(operation)
        session.flush()
        for at, mark in ((long_ago, "old"), (now(), "new")):
            until = at + timedelta(days=1)
            session.add_all(
                [
                    SignIn(token_hash=mark, user_id=user.id, expires_at=until),
                    SignInAttempt(
                        state_hash=mark, code_verifier="v", next_path="", expires_at=until
                    ),
                    EmailLink(token_hash=mark, user_id=user.id, email="a@b.c", expires_at=until),
                    Progress(instance_id=instance.id, operation_id=operation.id, at=at, text=mark),
                    IpAllowance(ip_hash=mark, day=at.date(), used=1),
                ]
            )
            for owner in (None, user.id):
                visit = TrialVisit(
                    token_hash=f"{mark}{owner}", ip_hash="x", user_id=owner, created_at=at
                )
                session.add(visit)
                session.flush()
                session.add(ChatMessage(visit_id=visit.id, role="user", text=mark))
    clean_up(c)
    clean_up(c)
    with db.read() as session:
        assert "old" not in session.scalars(select(SignIn.token_hash)).all()
        assert session.scalars(select(EmailLink.token_hash)).all() == ["new"]
        assert session.scalars(select(Progress.text)).all() == ["new"]
        assert session.scalars(select(IpAllowance.ip_hash)).all() == ["new"]
        assert "old" not in session.scalars(select(SignInAttempt.state_hash)).all()
        texts = sorted(session.scalars(select(ChatMessage.text)))
    assert texts == ["new", "new", "old"], "an account keeps its chats"
    assert client.get("/api/me").status_code == 200
