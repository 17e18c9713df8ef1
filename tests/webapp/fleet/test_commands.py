import json
import re

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select

from tests.webapp.instances.conftest import Tell
from webapp import clock
from webapp.accounts.models import User
from webapp.billing.models import WebhookEvent
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.models import Action, Instance, InstanceEvent, Operation


class Shell:
    """Runs `flask …` in the application."""

    def __init__(self, app: Flask) -> None:
        self._runner = app.test_cli_runner()

    def __call__(self, line: str) -> Result:
        return self._runner.invoke(args=line.split())

    def json(self, line: str) -> object:
        result = self(f"{line} --json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def flask(app: Flask) -> Shell:
    return Shell(app)


def again(c: Clawdet, instance: Instance) -> Instance:
    with c.db.read() as session:
        return session.get_one(Instance, instance.id)


def test_instances_are_listed_in_aligned_columns(flask: Shell, live: Instance) -> None:
    lines = flask("instances list").stdout.splitlines()

    assert re.match(r"name +customer +needs +state", lines[0])
    assert lines[1].index("complete") == lines[0].index("state")


def test_lists_are_json_when_asked(flask: Shell, live: Instance) -> None:
    rows = flask.json("instances list --state complete")

    assert isinstance(rows, list)
    assert [(row["name"], row["state"], row["lag"]) for row in rows] == [("alice", "complete", 0)]
    assert flask.json("instances list --state failed") == []


def test_an_empty_list_says_what_comes_next(flask: Shell) -> None:
    assert "the first customer makes the first one" in flask("instances list").stdout
    assert "open the landing page" in flask("users list").stdout


def test_what_is_not_there_is_an_error_with_a_next_step(flask: Shell) -> None:
    result = flask("instances show nobody")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "error: There is no instance nobody."
    assert result.stderr.splitlines()[1].startswith("next:  ")
    assert flask("users show nobody").exit_code == 1


def test_an_instance_is_shown_without_its_secrets(flask: Shell, live: Instance) -> None:
    result = flask("instances show alice")

    assert "203.0.113.7" in result.stdout
    assert "a-token-of-the-gateway" not in result.stdout


def test_suspend_and_resume_say_what_should_be_and_why(
    flask: Shell, live: Instance, c: Clawdet
) -> None:
    assert flask("instances suspend alice").exit_code == 2
    assert flask("instances suspend alice --reason abuse").exit_code == 0
    assert (again(c, live).desired, again(c, live).held) == ("suspended", True)

    flask("instances resume alice --reason settled")

    assert (again(c, live).desired, again(c, live).held) == ("running", False)
    with c.db.read() as session:
        events = session.scalars(select(InstanceEvent).where(InstanceEvent.kind == "wanted")).all()
    assert [event.why for event in events] == ["abuse", "settled"]
    assert all(event.actor.startswith("operator ") for event in events)


def test_deleting_needs_the_name_again(flask: Shell, live: Instance, c: Clawdet) -> None:
    refused = flask("instances delete alice --reason asked")
    assert refused.exit_code == 1
    assert "--yes alice" in refused.stderr
    assert again(c, live).desired == "running"

    assert flask("instances delete alice --reason asked --yes alice").exit_code == 0
    assert again(c, live).desired == "deleted"


def test_retry_is_for_what_has_failed(flask: Shell, live: Instance, c: Clawdet) -> None:
    assert "Nothing has failed." in flask("instances retry alice").stderr

    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        service.set_status(session, found, "failed", clock.now())
    assert flask("instances retry alice").exit_code == 0
    assert again(c, live).status == "pending"


def test_drift_is_shown_and_asked_for(flask: Shell, live: Instance, c: Clawdet) -> None:
    assert "no drift" in flask("instances drift alice").stdout

    finding = {"resource": "server", "property": "status", "expected": "running", "found": "off"}
    with c.db.begin() as session:
        session.get_one(Instance, live.id).drift = [finding]

    assert flask.json("instances drift alice") == [finding]
    assert flask("instances drift alice --check").exit_code == 0
    with c.db.read() as session:
        assert [a.kind for a in session.scalars(select(Action))] == ["drift"]


def test_users_are_shown_given_roles_and_noted_as_paid(
    flask: Shell, alice: User, c: Clawdet
) -> None:
    assert "alice" in flask("users list --q ALI").stdout
    assert flask("users role alice emperor").exit_code == 2
    assert flask("users role @alice operator").exit_code == 0
    assert "needs a reason" in flask("users pay alice").stderr
    assert flask("users pay alice --reason friend").exit_code == 0

    shown = flask.json("users show alice")

    assert isinstance(shown, dict)
    assert (shown["role"], shown["paid"], shown["instance"]) == ("operator", "manual", "alice")
    flask("users pay alice --end")
    with c.db.read() as session:
        found = service.of_user(session, alice.id)
        assert found is not None
        assert found.desired == "deleted"


def test_the_workers_status_has_queues_and_sweeps(flask: Shell, live: Instance) -> None:
    found = flask.json("worker status")

    assert isinstance(found, dict)
    assert {queue["queue"]: queue["waiting"] for queue in found["queues"]} == {
        "stacks": 1,
        "small": 0,
    }
    assert {sweep["last"] for sweep in found["sweeps"]} == {"never"}


def test_settings_are_written_for_living_instances_only(
    flask: Shell, live: Instance, c: Clawdet
) -> None:
    with c.db.begin() as session:
        session.get_one(Instance, live.id).status = "deleted"

    assert "alice was deleted." in flask("stacks write-settings alice").stderr
    assert "There is no instance bob." in flask("stacks write-settings bob").stderr


def test_what_happened_is_listed_newest_first(flask: Shell, live: Instance) -> None:
    flask("instances suspend alice --reason abuse")

    rows = flask.json("instances history alice")

    assert isinstance(rows, list)
    assert [(row["text"], row["why"]) for row in rows] == [
        ("Asked to be suspended", "abuse"),
        ("alice was ordered", "paid"),
    ]
    assert "alice was ordered" not in flask("instances history alice --number 1").stdout
    assert flask("instances history alice --number 0").exit_code == 2


def test_an_instance_is_switched_off_and_on(flask: Shell, live: Instance, c: Clawdet) -> None:
    assert "is being switched off" in flask("instances power alice off").stdout
    assert not again(c, live).powered_on
    flask("instances power alice on")
    assert again(c, live).powered_on


def test_what_is_only_asked_for_is_not_followed(flask: Shell, live: Instance, c: Clawdet) -> None:
    asked = flask("instances rotate-token alice --no-wait")

    assert asked.stdout == "asked for; next: flask instances operations alice\n"
    assert "nothing yet" in flask("instances operations alice").stdout
    assert "Nothing was done to alice yet." in flask("instances log alice").stderr
    with c.db.read() as session:
        assert [a.kind for a in session.scalars(select(Action))] == ["rotate_token"]


def test_an_operation_is_shown_and_cancelled(
    flask: Shell, live: Instance, tell: Tell, c: Clawdet
) -> None:
    assert "Nothing runs on alice." in flask("instances cancel alice").stderr
    tell(live, ("server", "done", 4.2, ""))

    shown = flask("instances log alice").stdout.splitlines()
    assert shown[0] == "up of alice: running"
    assert shown[1].endswith("server done after 4.2 s")
    assert flask("instances log alice 999").exit_code == 1
    assert "the up is being cancelled" in flask("instances cancel alice").stdout
    with c.db.read() as session:
        assert [o.cancel_requested for o in session.scalars(select(Operation))] == [True]


def test_the_end_of_a_server_cannot_be_overlooked(
    flask: Shell, live: Instance, tell: Tell, c: Clawdet
) -> None:
    tell(live, kind="preview", outcome="succeeded")
    image = {"path": "image", "kind": "update-replace", "before": "debian-12", "after": "x"}
    server = {"type": "hcloud:index/server:Server", "name": "server", "op": "replace"}
    with c.db.begin() as session:
        session.scalars(select(Operation)).one().changes = [{**server, "properties": [image]}]

    shown = flask("instances log alice").stdout

    assert "THIS ENDS THE SERVER and everything on it" in shown
    assert re.search(r"image +debian-12 → x", shown)


def test_webhooks_are_listed_and_replayed(flask: Shell, live: Instance, c: Clawdet) -> None:
    assert "/api/webhooks/stripe" in flask("webhooks list").stdout
    with c.db.begin() as session:
        session.add(WebhookEvent(id="evt_1", type="invoice.paid", payload="{}"))
        session.add(
            WebhookEvent(id="evt_2", type="ping", payload="{}", handled_at=clock.now(), tries=1)
        )

    waiting = flask.json("webhooks list --unhandled")
    assert isinstance(waiting, list)
    assert [(row["id"], row["handled"]) for row in waiting] == [("evt_1", None)]
    assert flask("webhooks replay evt_2").exit_code == 0
    rows = flask.json("webhooks list")
    assert isinstance(rows, list)
    assert {row["id"] for row in rows if row["handled"] is None} == {"evt_1", "evt_2"}
    assert "There is no such event." in flask("webhooks replay evt_3").stderr


def test_health_says_what_to_do_and_exits_with_1(flask: Shell, live: Instance) -> None:
    found = flask("health")

    assert found.exit_code == 1
    assert re.search(r"^Worker's sweep +false +never seen$", found.stdout, re.M)
    assert "next:  Worker's sweep: Start a worker: python -m webapp.worker" in found.stderr
    told = json.loads(flask("health --json").stdout)
    assert (told["ok"], told["orphans"]) == (False, [])
