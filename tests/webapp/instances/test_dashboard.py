from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.webapp.conftest import SignInAs
from tests.webapp.instances.conftest import MakeInstance, Post
from webapp import clock
from webapp.accounts.models import User
from webapp.database import Database
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.models import Action, Instance, InstanceEvent


def again(db: Database, instance: Instance) -> Instance:
    with db.read() as session:
        return session.get_one(Instance, instance.id)


def actions(db: Database) -> list[Action]:
    with db.read() as session:
        return list(session.scalars(select(Action).order_by(Action.id)))


def test_the_dashboard_shows_state_place_pulse_and_the_way_in(
    client: FlaskClient, live: Instance, c: Clawdet
) -> None:
    page = client.get("/dashboard").text

    assert "Running in Helsinki" in page
    assert "gateway answering in 38 ms" in page
    assert c.settings.instance_url("alice") in page
    assert "alice was ordered" in page


def test_the_gateway_token_is_not_in_the_dashboard_until_asked_for(
    client: FlaskClient, live: Instance, post: Post, db: Database
) -> None:
    assert "a-token-of-the-gateway" not in client.get("/dashboard").text

    shown = post("/instance/token")

    assert "a-token-of-the-gateway" in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert "The gateway token was shown" in client.get("/dashboard").text


def test_without_an_instance_the_dashboard_leads_on_in_the_sign_up(
    client: FlaskClient, alice: User
) -> None:
    answer = client.get("/dashboard")

    assert answer.status_code == 303
    assert answer.location == "/signup/details"


def test_switching_off_says_what_should_be_and_is_shown_as_under_way(
    live: Instance, post: Post, db: Database
) -> None:
    page = post("/instance/power", power="off").text

    assert "It is being switched off" in page
    assert "Switching off" in page
    found = again(db, live)
    assert (found.powered_on, found.generation) == (False, 2)


def test_switching_off_twice_changes_nothing_more(live: Instance, post: Post, db: Database) -> None:
    post("/instance/power", power="off")
    post("/instance/power", power="off")

    assert again(db, live).generation == 2


def test_an_instance_that_is_off_is_switched_on_and_cannot_be_restarted(
    alice: User, live: Instance, post: Post, db: Database
) -> None:
    post("/instance/power", power="off")

    assert "is switched off" in post("/instance/restart").text
    assert actions(db) == []
    post("/instance/power", power="on")
    assert again(db, live).powered_on


def test_a_power_that_is_neither_on_nor_off_is_refused(live: Instance, post: Post) -> None:
    assert post("/instance/power", power="perhaps").status_code == 400


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/instance/power", {"power": "off"}),
        ("/instance/restart", {}),
        ("/instance/rebuild", {"confirm": "alice"}),
        ("/instance/rotate-token", {}),
    ],
)
def test_a_suspended_instance_moves_by_no_lever(
    path: str, fields: dict[str, str], live: Instance, post: Post, c: Clawdet
) -> None:
    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        found.powered_on = path != "/instance/power" or found.powered_on
        service.want(session, c.jobs, found, actor="stripe", why="unpaid", desired="suspended")

    page = post(path, **fields).text

    assert "alice is suspended." in page
    assert "Pay what is open to bring it back." in page
    assert actions(c.db) == []
    assert again(c.db, live).generation == 2


def test_a_suspended_instance_cannot_be_switched_on(
    alice: User, live: Instance, post: Post, c: Clawdet
) -> None:
    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        found.powered_on, found.status = False, "suspended"
        found.desired = "suspended"

    assert "alice is suspended." in post("/instance/power", power="on").text
    assert not again(c.db, live).powered_on


def test_a_restart_asked_for_twice_waits_once_and_is_shown(
    live: Instance, post: Post, client: FlaskClient, db: Database
) -> None:
    post("/instance/restart")
    page = post("/instance/restart").text

    assert [action.kind for action in actions(db)] == ["restart"]
    assert "waiting its turn" in page


def test_what_has_begun_is_shown_as_under_way(
    live: Instance, post: Post, client: FlaskClient, db: Database
) -> None:
    post("/instance/restart")
    with db.begin() as session:
        session.scalars(select(Action)).one().claimed_at = clock.now()

    assert "under way" in client.get("/dashboard").text


def test_a_rebuild_needs_the_name(live: Instance, post: Post, db: Database) -> None:
    assert "The name did not match." in post("/instance/rebuild", confirm="bob").text
    assert actions(db) == []

    post("/instance/rebuild", confirm=" Alice ")

    assert [action.kind for action in actions(db)] == ["rebuild"]


def test_a_form_without_its_token_changes_nothing(
    client: FlaskClient, live: Instance, db: Database
) -> None:
    assert client.post("/instance/restart").status_code == 400
    assert actions(db) == []


def test_retry_is_for_what_has_failed(live: Instance, post: Post, c: Clawdet) -> None:
    assert "Nothing has failed." in post("/instance/retry").text

    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        found.failed_step, found.failure, found.remedy = "installing", "npm broke.", "Try again."
        service.set_status(session, found, "failed", clock.now())
    page = post("/instance/retry").text

    assert "It goes on from where it stopped." in page
    found = again(c.db, live)
    assert (found.status, found.failure, found.failures_in_a_row) == ("pending", "", 0)
    assert found.generation == 2


def test_a_failed_instance_says_why_and_what_to_do(
    client: FlaskClient, live: Instance, db: Database
) -> None:
    with db.begin() as session:
        found = session.get_one(Instance, live.id)
        found.failure, found.remedy = "It did not answer.", "Try again."
        found.status = "failed"

    page = client.get("/dashboard").text

    assert "It did not answer. Try again." in page
    assert "Try again from here" in page


def test_one_that_has_not_answered_lately_is_not_called_running(
    client: FlaskClient, live: Instance, db: Database
) -> None:
    with db.begin() as session:
        session.get_one(Instance, live.id).seen_at = clock.now() - timedelta(hours=1)

    assert "Not answering" in client.get("/dashboard").text


def test_other_peoples_instances_are_not_there(
    app: Flask, live: Instance, sign_in: SignInAs, client: FlaskClient
) -> None:
    other = app.test_client()
    sign_in(other, "mallory")

    assert client.get(f"/instances/{live.id}").status_code == 200
    assert other.get(f"/instances/{live.id}").status_code == 404
    assert other.get("/instances/ins_nothing").status_code == 404
    assert other.get("/api/provisioning/status").status_code == 404
    assert other.get("/api/provisioning/events").status_code == 404


def test_levers_without_an_instance_are_not_there(alice: User, post: Post) -> None:
    for path in ("restart", "token", "retry", "rotate-token"):
        assert post(f"/instance/{path}").status_code == 404


def test_pages_lead_strangers_to_the_sign_in(client: FlaskClient) -> None:
    for path in ("/dashboard", "/provisioning", "/instances/ins_x"):
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer.location.startswith("/sign-in?next=")
    assert client.get("/api/provisioning/status").status_code == 401


def test_an_ended_instance_keeps_its_record_and_its_history(
    client: FlaskClient, live: Instance, alice: User, c: Clawdet
) -> None:
    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        service.set_status(session, found, "deleting", clock.now())
        found.final_backup = "image-77"
        service.set_status(session, found, "deleted", clock.now())

    dashboard = client.get("/dashboard").text
    record = client.get(f"/instances/{live.id}").text

    assert "No assistant at the moment" in dashboard
    assert f"/instances/{live.id}" in dashboard
    assert "image-77" in record
    assert "alice was ordered" in record


def test_the_history_is_paged_and_loses_nothing(
    client: FlaskClient, live: Instance, db: Database
) -> None:
    with db.begin() as session:
        for number in range(45):
            service.record(session, live, actor="clawdet", kind="note", text=f"note {number:02}.")

    pages = [client.get(f"/dashboard?page={page}").text for page in (1, 2, 3)]

    assert "note 44." in pages[0] and "note 25." in pages[0]
    assert "note 24." in pages[1] and "note 05." in pages[1]
    assert "alice was ordered" in pages[2]
    assert 'rel="next"' not in pages[2]


def test_every_lever_leaves_its_actor_in_the_history(
    live: Instance, post: Post, db: Database
) -> None:
    post("/instance/restart")

    with db.read() as session:
        events = session.scalars(select(InstanceEvent).where(InstanceEvent.kind == "asked")).all()
    assert [(event.actor, event.text) for event in events] == [
        ("customer alice", "Asked for a restart")
    ]


def test_being_deleted_is_final(live: Instance, post: Post, c: Clawdet) -> None:
    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        service.want(session, c.jobs, found, actor="clawdet", why="ended", desired="deleted")
        service.set_status(session, found, "deleting", clock.now())

    assert "is being deleted" in post("/instance/restart").text


def test_an_instance_is_made_once_per_user_and_gets_a_suffix_where_the_name_is_taken(
    app: Flask, live: Instance, alice: User, make_instance: MakeInstance, sign_in: SignInAs
) -> None:
    other = sign_in(app.test_client(), "Alice_")

    assert make_instance(alice).id == live.id
    assert make_instance(other).slug == "alice-2"


def test_the_bills_are_loaded_after_the_dashboard_and_may_be_none(
    client: FlaskClient, live: Instance
) -> None:
    assert "No bills yet." in client.get("/dashboard/bills").text


def test_before_the_server_there_is_no_token_to_show(
    alice: User, make_instance: MakeInstance, post: Post
) -> None:
    make_instance(alice)

    assert post("/instance/token").status_code == 409
