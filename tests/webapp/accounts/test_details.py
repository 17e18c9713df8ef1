import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.webapp.accounts.conftest import Mailbox
from tests.webapp.conftest import SignInAs, csrf
from webapp.accounts.models import EmailLink, User
from webapp.accounts.terms import TERMS_VERSION
from webapp.clock import now
from webapp.database import Database
from webapp.http.context import Clawdet
from webapp.instances.models import Instance
from webapp.mail.models import Letter

PAGE = "/signup/details"


def submit(client: FlaskClient, **fields: str) -> TestResponse:
    given = {"email": "alice@example.com", "slug": "alice", "terms": "y", **fields}
    return client.post(PAGE, data={**given, "csrf_token": csrf(client, PAGE)})


def user_of(db: Database, user_id: str) -> User:
    with db.read() as session:
        return session.get_one(User, user_id)


def link_of(mailbox: Mailbox, to: str) -> str:
    letter = next(letter for letter in mailbox() if letter["to"] == [to])
    return urlsplit(str(letter["links"][0])).path


def confirm(client: FlaskClient, path: str) -> TestResponse:
    return client.post(path, data={"csrf_token": csrf(client, path)})


def test_details_need_a_sign_in(client: FlaskClient) -> None:
    answer = client.get(PAGE)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/sign-in?next=/signup/details"


def test_the_form_suggests_the_name_that_x_knows(client: FlaskClient, sign_in: SignInAs) -> None:
    sign_in(client, "bob_builder")
    page = client.get(PAGE).text
    assert 'value="bob-builder"' in page
    assert "bob-builder.clawdet.com" in page


def test_details_are_kept_and_lead_to_the_payment(
    client: FlaskClient, sign_in: SignInAs, db: Database
) -> None:
    user = sign_in(client)
    answer = submit(client, slug="my-cadet")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/signup/pay")
    kept = user_of(db, user.id)
    assert (kept.email, kept.slug, kept.terms_version) == (
        "alice@example.com",
        "my-cadet",
        TERMS_VERSION,
    )
    assert kept.terms_accepted_at
    assert kept.email_verified_at is None


def test_a_wrong_field_is_told_beside_it_and_what_was_typed_stays(
    client: FlaskClient, sign_in: SignInAs, db: Database
) -> None:
    user = sign_in(client)
    answer = client.post(
        PAGE, data={"email": "alice@", "slug": "www", "csrf_token": csrf(client, PAGE)}
    )
    assert answer.status_code == 422
    for field in ("email", "slug", "terms"):
        assert f'id="{field}-error"' in answer.text
    assert 'value="alice@"' in answer.text
    assert 'value="www"' in answer.text
    kept = user_of(db, user.id)
    assert (kept.email, kept.slug, kept.terms_version) == (None, None, None)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "alice",
        "alice@localhost",
        "alice@example..com",
        "alice@example.com\nBcc: everybody@example.com",
        "alice@example.com\r\nSubject: cheap",
        "alice@example.com%0ABcc: bob@example.com",
        "alice@example.com, bob@example.com",
        "Alice <alice@example.com>",
        '"<script>"@example.com',
        "a" * 300 + "@example.com",
    ],
)
def test_what_is_no_address_is_refused_and_no_letter_is_written(
    client: FlaskClient, sign_in: SignInAs, db: Database, email: str
) -> None:
    sign_in(client)
    answer = submit(client, email=email)
    assert answer.status_code == 422
    assert "This is no e-mail address." in answer.text
    with db.read() as session:
        assert session.scalars(select(Letter)).all() == []


def test_what_was_typed_is_shown_as_text(client: FlaskClient, sign_in: SignInAs) -> None:
    sign_in(client)
    answer = submit(client, email='"><script>alert(1)</script>', slug="<b>bold</b>")
    assert "<script>alert" not in answer.text
    assert "<b>bold" not in answer.text


def test_a_name_that_is_taken_is_told_with_one_that_is_free(
    app: Flask, client: FlaskClient, sign_in: SignInAs
) -> None:
    other = app.test_client()
    sign_in(other, "bob_builder")
    submit(other, email="bob@example.com", slug="cadet")
    sign_in(client)
    answer = submit(client, slug="Cadet")
    assert answer.status_code == 422
    assert "cadet is taken. cadet-2 is free." in answer.text


def test_the_name_stays_once_there_is_an_instance(
    client: FlaskClient, sign_in: SignInAs, db: Database
) -> None:
    user = sign_in(client)
    submit(client)
    with db.begin() as session:
        session.add(Instance(user_id=user.id, slug="alice"))
    assert 'name="slug"' not in client.get(PAGE).text
    submit(client, slug="other")
    assert user_of(db, user.id).slug == "alice"


def test_newer_terms_are_asked_for_again(
    client: FlaskClient, sign_in: SignInAs, db: Database
) -> None:
    user = sign_in(client)
    submit(client)
    assert 'name="terms"' not in client.get(PAGE).text
    with db.begin() as session:
        session.get_one(User, user.id).terms_version = "2025-01-01"
    assert 'name="terms"' in client.get(PAGE).text
    sign_in_page = client.get("/sign-in")
    assert sign_in_page.headers["Location"] == PAGE


def test_a_letter_proves_the_address(
    client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    user = sign_in(client)
    submit(client)
    assert "Confirm alice@example.com." in client.get(PAGE).text
    path = link_of(mailbox, "alice@example.com")
    assert re.fullmatch(r"/verify-email/[\w-]{43}", path)
    assert "alice@example.com" in client.get(path).text
    assert user_of(db, user.id).email_verified_at is None, "looking is not confirming"
    assert confirm(client, path).status_code == 303
    assert user_of(db, user.id).email_verified_at is not None
    assert "Confirm alice@example.com." not in client.get(PAGE).text


def test_the_link_works_in_a_browser_that_is_not_signed_in(
    app: Flask, client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    user = sign_in(client)
    submit(client)
    phone = app.test_client()
    assert confirm(phone, link_of(mailbox, "alice@example.com")).headers["Location"] == "/"
    assert user_of(db, user.id).email_verified_at is not None


def test_the_link_works_once(client: FlaskClient, sign_in: SignInAs, mailbox: Mailbox) -> None:
    sign_in(client)
    submit(client)
    path = link_of(mailbox, "alice@example.com")
    confirm(client, path)
    assert client.get(path).status_code == 400
    assert "used or replaced" in client.get(path).text


def test_the_link_is_good_for_a_day(
    client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    sign_in(client)
    submit(client)
    path = link_of(mailbox, "alice@example.com")
    with db.begin() as session:
        link = session.scalars(select(EmailLink)).one()
        assert timedelta(hours=23) < link.expires_at - now() <= timedelta(hours=24)
        link.expires_at = now() - timedelta(seconds=1)
    assert "This link is too old." in client.get(path).text


def test_a_made_up_link_is_none(client: FlaskClient) -> None:
    answer = client.get("/verify-email/made-up")
    assert answer.status_code == 400
    assert "not one of ours" in answer.text


def test_tokens_of_links_are_kept_hashed(
    client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    sign_in(client)
    submit(client)
    token = link_of(mailbox, "alice@example.com").rpartition("/")[2]
    with db.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM email_links, letters").all()
    assert token not in str(rows)


def test_a_mistyped_address_is_corrected_and_its_letter_worthless(
    client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    user = sign_in(client)
    submit(client, email="alcie@example.com")
    old = link_of(mailbox, "alcie@example.com")
    submit(client, email="alice@example.com")
    assert client.get(old).status_code == 400
    confirm(client, link_of(mailbox, "alice@example.com"))
    assert user_of(db, user.id).email == "alice@example.com"


def test_the_letter_is_sent_again_on_request_and_both_links_work(
    client: FlaskClient, sign_in: SignInAs, mailbox: Mailbox
) -> None:
    sign_in(client)
    submit(client)
    first = link_of(mailbox, "alice@example.com")
    client.post("/verify-email", data={"csrf_token": csrf(client, PAGE), "next": PAGE})
    second = link_of(mailbox, "alice@example.com")
    assert first != second
    assert client.get(first).status_code == client.get(second).status_code == 200


def test_submitting_the_same_details_again_writes_no_second_letter(
    client: FlaskClient, sign_in: SignInAs, mailbox: Mailbox
) -> None:
    sign_in(client)
    submit(client)
    submit(client)
    assert len(mailbox()) == 1


def test_nobodys_mailbox_is_filled(
    app: Flask, client: FlaskClient, sign_in: SignInAs, c: Clawdet
) -> None:
    sign_in(client)
    submit(client)
    token = csrf(client, PAGE)
    statuses = [
        client.post("/verify-email", data={"csrf_token": token}).status_code for _ in range(6)
    ]
    assert statuses == [303] * 4 + [429] * 2
    other = app.test_client()
    sign_in(other, "bob_builder")
    answer = submit(other, slug="bob")
    assert answer.status_code == 429
    assert "That were many letters." in answer.text


def test_a_confirmed_address_stays_until_the_new_one_is_confirmed(
    client: FlaskClient, sign_in: SignInAs, db: Database, mailbox: Mailbox
) -> None:
    user = sign_in(client)
    submit(client)
    confirm(client, link_of(mailbox, "alice@example.com"))
    data = {"email": "new@example.com", "csrf_token": csrf(client, "/settings")}
    assert client.post("/settings", data=data).status_code == 303
    assert user_of(db, user.id).email == "alice@example.com"
    assert "Confirm new@example.com." in client.get("/settings").text
    confirm(client, link_of(mailbox, "new@example.com"))
    assert user_of(db, user.id).email == "new@example.com"


def test_a_wrong_address_in_the_settings_is_told_beside_the_field(
    client: FlaskClient, sign_in: SignInAs
) -> None:
    sign_in(client)
    data = {"email": "new@", "csrf_token": csrf(client, "/settings")}
    answer = client.post("/settings", data=data)
    assert answer.status_code == 422
    assert 'id="email-error"' in answer.text
    assert 'value="new@"' in answer.text
