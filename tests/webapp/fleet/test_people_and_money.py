import json

from flask.testing import FlaskClient

from tests.webapp.fleet.conftest import Send, SignInWith, sender
from webapp import clock
from webapp.accounts.models import User
from webapp.billing.models import WebhookEvent
from webapp.http.context import Clawdet
from webapp.instances import service


def test_users_are_found_by_handle_and_by_what_they_paid(
    olga: FlaskClient, alice: User, c: Clawdet
) -> None:
    with c.db.begin() as session:
        session.get_one(User, alice.id).email = "alice@example.com"

    assert "alice@example.com" in olga.get("/fleet/users?q=ALICE@").text
    assert "alice@example.com" in olga.get("/fleet/users?paid=unpaid").text
    assert "Nobody fits" in olga.get("/fleet/users?paid=paid").text
    assert "Nobody fits" in olga.get("/fleet/users?q=zorro").text


def test_a_payment_by_arrangement_needs_a_reason_and_starts_an_instance(
    send: Send, alice: User, c: Clawdet, olga: FlaskClient
) -> None:
    path = f"/fleet/users/{alice.id}/pay"
    assert "needs a reason" in send(path, reason="").text
    with c.db.read() as session:
        assert service.of_user(session, alice.id) is None

    send(path, reason="a friend of the house, until May")

    with c.db.read() as session:
        assert service.of_user(session, alice.id) is not None
        assert session.get_one(User, alice.id).payment_method == "manual"
    history = olga.get("/fleet/alice").text
    assert "a friend of the house, until May" in history
    assert "operator olga" in history


def test_the_end_of_an_arrangement_deletes_the_instance(
    send: Send, alice: User, c: Clawdet
) -> None:
    send(f"/fleet/users/{alice.id}/pay", reason="a friend")
    send(f"/fleet/users/{alice.id}/end-payment")

    with c.db.read() as session:
        found = service.of_user(session, alice.id)
        assert found is not None
        assert found.desired == "deleted"


def test_roles_are_given_by_admins_only(
    send: Send, alice: User, sign_in_with: SignInWith, c: Clawdet
) -> None:
    path = f"/fleet/users/{alice.id}/role"
    assert send(path, role="admin").status_code == 403

    post = sender(sign_in_with("admin", "ada"))
    assert "alice is viewer now" in post(path, role="viewer").text
    assert "no such role" in post(path, role="emperor").text

    with c.db.read() as session:
        assert session.get_one(User, alice.id).role == "viewer"


def test_viewers_note_no_payments(sign_in_with: SignInWith, alice: User, c: Clawdet) -> None:
    post = sender(sign_in_with("viewer", "vera"))

    assert post(f"/fleet/users/{alice.id}/pay", reason="please").status_code == 404


def add_event(c: Clawdet, id_: str, handled: bool) -> None:
    about = {"object": "customer", "id": f"cus_{id_}", "subscription": None}
    event = WebhookEvent(id=id_, type="customer.updated", payload=json.dumps(about))
    event.handled_at = clock.now() if handled else None
    with c.db.begin() as session:
        session.add(event)


def test_webhooks_are_listed_and_the_unhandled_filtered(olga: FlaskClient, c: Clawdet) -> None:
    add_event(c, "evt_done", handled=True)
    add_event(c, "evt_open", handled=False)

    everything = olga.get("/fleet/webhooks").text
    unhandled = olga.get("/fleet/webhooks?unhandled=1").text

    assert "evt_done" in everything and "evt_open" in everything
    assert "evt_done" not in unhandled and "evt_open" in unhandled
    assert "cus_evt_open" in olga.get("/fleet/webhooks/evt_open").text


def test_a_webhook_is_handled_once_more(olga: FlaskClient, send: Send, c: Clawdet) -> None:
    add_event(c, "evt_done", handled=True)

    send("/fleet/webhooks/evt_done/replay")

    with c.db.read() as session:
        assert session.get_one(WebhookEvent, "evt_done").handled_at is None
        assert sum(queue.waiting for queue in c.jobs.status(session)) == 1
    assert olga.get("/fleet/webhooks/evt_none").status_code == 404
