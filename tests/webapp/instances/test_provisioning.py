import json
from datetime import timedelta

from flask.testing import FlaskClient

from tests.webapp.instances.conftest import MakeInstance, Tell
from webapp import clock
from webapp.accounts.models import User
from webapp.billing import service as billing
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.models import Instance

BOOT = [
    ("server", "started", None, ""),
    ("certificate", "started", None, ""),
    ("certificate", "done", 1.0, ""),
    ("server", "done", 12.0, ""),
    ("record", "started", None, ""),
    ("record", "done", 0.5, ""),
]


def state_of(page: str, step: str) -> str:
    """The state that the timeline shows of a step."""
    item = page.partition(f'data-step="{step}" data-state="')[2]
    return item.partition('"')[0]


def test_steps_fill_with_what_the_reconciler_told(
    client: FlaskClient, alice: User, make_instance: MakeInstance, tell: Tell
) -> None:
    instance = make_instance(alice, status="installing", location="hel1", ipv4="203.0.113.7")
    tell(instance, *BOOT, ("node", "started", None, ""), ("node", "", None, "unpacking"))

    page = client.get("/provisioning").text

    assert "Ordering a server in Helsinki" in page
    assert "address 203.0.113.7" in page
    assert "node: unpacking" in page
    assert [state_of(page, step) for step in ("server", "record", "node", "openclaw")] == [
        "done",
        "done",
        "now",
        "waiting",
    ]


def test_the_page_moves_by_itself_without_javascript_until_it_is_settled(
    client: FlaskClient, alice: User, make_instance: MakeInstance, c: Clawdet
) -> None:
    instance = make_instance(alice)
    assert 'http-equiv="refresh"' in client.get("/provisioning").text

    with c.db.begin() as session:
        found = session.get_one(Instance, instance.id)
        service.set_status(session, found, "complete", clock.now())
    page = client.get("/provisioning").text

    assert 'http-equiv="refresh"' not in page
    assert "Your assistant is live" in page
    assert state_of(page, "check") == "done"


def test_usual_durations_are_the_medians_of_what_went_well(
    client: FlaskClient, alice: User, make_instance: MakeInstance, tell: Tell
) -> None:
    instance = make_instance(alice, status="creating_vps")
    for seconds in (10.0, 30.0, 20.0):
        tell(instance, ("server", "done", seconds, ""), outcome="succeeded")
    tell(instance, ("server", "failed", 500.0, ""), outcome="failed")

    body = client.get("/api/provisioning/status").get_json()

    assert body["steps"][0]["name"] == "server"
    assert body["steps"][0]["usualS"] == 20.0
    assert body["steps"][1]["usualS"] is None


def test_a_failure_turns_its_step_says_why_and_offers_to_go_on_from_there(
    client: FlaskClient, alice: User, make_instance: MakeInstance, tell: Tell, c: Clawdet
) -> None:
    instance = make_instance(alice, status="installing")
    tell(
        instance,
        *BOOT,
        ("reachable", "done", 3.0, ""),
        ("files", "done", 1.0, ""),
        ("openclaw", "started", None, ""),
        ("openclaw", "failed", 7.0, "npm: no space left"),
        outcome="failed",
    )
    with c.db.begin() as session:
        found = session.get_one(Instance, instance.id)
        found.failed_step, found.failure = "installing", "This step failed."
        found.remedy = "Try again."
        service.set_status(session, found, "failed", clock.now())

    page = client.get("/provisioning").text
    body = client.get("/api/provisioning/status").get_json()

    assert state_of(page, "openclaw") == "failed"
    assert state_of(page, "boot") == "done"
    assert "Try again from here" in page
    assert "This step failed." in page
    assert body["status"] == "failed"
    assert body["failure"] == {
        "step": "installing",
        "message": "This step failed.",
        "remedy": "Try again.",
    }


def test_a_failure_without_a_failed_resource_is_shown_at_the_step_that_it_names(
    client: FlaskClient, alice: User, make_instance: MakeInstance
) -> None:
    make_instance(alice, status="failed", failed_step="creating_vps", failure="Sold out.")

    page = client.get("/provisioning").text

    assert state_of(page, "server") == "failed"
    assert "Sold out." in page


def test_a_failure_that_is_tried_again_says_when(
    client: FlaskClient, alice: User, make_instance: MakeInstance
) -> None:
    make_instance(alice, status="failed", retry_at=clock.now() + timedelta(minutes=2))

    page = client.get("/provisioning").text

    assert "We try again by ourselves" in page
    assert 'http-equiv="refresh"' in page


def test_a_second_try_keeps_what_is_done_and_forgets_what_failed(
    client: FlaskClient, alice: User, make_instance: MakeInstance, tell: Tell
) -> None:
    instance = make_instance(alice, status="installing")
    tell(instance, *BOOT, ("node", "failed", 2.0, ""), outcome="failed")
    tell(instance, ("caddy", "started", None, ""))

    page = client.get("/provisioning").text

    assert [state_of(page, step) for step in ("server", "node", "caddy")] == [
        "done",
        "waiting",
        "now",
    ]


def test_a_server_made_again_is_installed_again(
    client: FlaskClient, alice: User, make_instance: MakeInstance, tell: Tell
) -> None:
    instance = make_instance(alice, status="creating_vps")
    tell(instance, *BOOT, ("node", "done", 2.0, ""), outcome="succeeded")
    tell(instance, ("server", "started", None, ""), kind="rebuild")

    page = client.get("/provisioning").text

    assert [state_of(page, step) for step in ("server", "certificate", "node")] == [
        "now",
        "done",
        "waiting",
    ]


def test_the_api_says_how_far_it_is_in_camel_case(
    client: FlaskClient, alice: User, make_instance: MakeInstance, tell: Tell, c: Clawdet
) -> None:
    instance = make_instance(alice, status="configuring_dns")
    tell(instance, *BOOT[:4])

    body = client.get("/api/provisioning/status").get_json()

    assert set(body) == {"status", "step", "steps", "instanceUrl", "failure", "updatedAt"}
    assert (body["status"], body["step"], body["failure"]) == (
        "configuring_dns",
        "configuring_dns",
        None,
    )
    assert body["instanceUrl"] == c.settings.instance_url("alice")
    assert body["steps"][0] == {
        "name": "server",
        "phase": "creating_vps",
        "title": "Ordering a server",
        "state": "done",
        "elapsedS": 12.0,
        "usualS": None,
    }


def csrf_header(client: FlaskClient) -> dict[str, str]:
    page = client.get("/terms").text
    return {"X-CSRFToken": page.partition('name="csrf-token" content="')[2].partition('"')[0]}


def test_starting_is_for_those_who_have_paid(client: FlaskClient, alice: User) -> None:
    answer = client.post("/api/provisioning/start", headers=csrf_header(client))

    assert answer.status_code == 402
    assert answer.content_type == "application/problem+json"
    assert json.loads(answer.text)["code"] == "payment_needed"
    assert client.get("/api/provisioning/status").status_code == 404


def test_starting_twice_orders_one_server(client: FlaskClient, alice: User, c: Clawdet) -> None:
    with c.db.begin() as session:
        billing.mark_paid_manually(
            session, c.jobs, session.get_one(User, alice.id), "operator olga"
        )

    answers = [client.post("/api/provisioning/start", headers=csrf_header(client)) for _ in "12"]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].get_json()["status"] == "pending"
    with c.db.read() as session:
        assert session.query(Instance).count() == 1


def test_somebody_who_has_not_paid_is_led_on_in_the_sign_up(
    client: FlaskClient, alice: User
) -> None:
    answer = client.get("/provisioning")

    assert answer.status_code == 303
    assert answer.location == "/signup/details"


def test_the_dashboard_leads_to_the_birth_until_it_is_live(
    client: FlaskClient, alice: User, make_instance: MakeInstance
) -> None:
    make_instance(alice)

    assert client.get("/dashboard").location == "/provisioning"
