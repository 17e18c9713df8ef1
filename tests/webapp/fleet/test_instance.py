import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.webapp.fleet.conftest import Send, SignInWith, sender
from tests.webapp.instances.conftest import Tell
from webapp import clock
from webapp.http.context import Clawdet
from webapp.instances import service
from webapp.instances.models import Action, Instance, InstanceEvent, Operation

CHANGES = [
    {
        "type": "hcloud:index/server:Server",
        "name": "server",
        "op": "replace",
        "properties": [
            {"path": "image", "kind": "update-replace", "before": "ubuntu-22", "after": "ubuntu-24"}
        ],
    }
]


def actions(c: Clawdet) -> list[tuple[str, bool, str]]:
    with c.db.read() as session:
        rows = session.scalars(select(Action).order_by(Action.id))
        return [(a.kind, a.approved, a.asked_by) for a in rows]


def again(c: Clawdet, instance: Instance) -> Instance:
    with c.db.read() as session:
        return session.get_one(Instance, instance.id)


def keep(c: Clawdet, instance: Instance, **columns: object) -> int:
    with c.db.begin() as session:
        row = Operation(instance_id=instance.id, generation=1, **columns)
        session.add(row)
        session.flush()
        return row.id


@pytest.mark.parametrize("kind", ["preview", "apply", "refresh", "drift", "restart"])
def test_an_operator_asks_and_the_record_names_them(
    kind: str, send: Send, live: Instance, c: Clawdet
) -> None:
    page = send("/fleet/alice/ask", kind=kind).text

    assert actions(c) == [(kind, False, "operator olga")]
    assert "waiting its turn" in page
    with c.db.read() as session:
        events = session.scalars(select(InstanceEvent).where(InstanceEvent.kind == "asked")).all()
    assert [event.actor for event in events] == ["operator olga"]


def test_what_is_no_action_is_refused(send: Send, live: Instance, c: Clawdet) -> None:
    assert "nothing one can ask for" in send("/fleet/alice/ask", kind="explode").text
    assert actions(c) == []


def test_a_preview_is_shown_property_by_property_and_a_lost_server_over_everything(
    olga: FlaskClient, live: Instance, c: Clawdet
) -> None:
    at = clock.now()
    keep(c, live, kind="preview", outcome="succeeded", ended_at=at, changes=CHANGES)

    page = olga.get("/fleet/alice").text

    assert "This destroys a server." in page
    assert "<del>ubuntu-22</del>" in page
    assert "<ins>ubuntu-24</ins>" in page
    assert "forces a replacement" in page


def test_a_preview_without_changes_says_so(olga: FlaskClient, live: Instance, c: Clawdet) -> None:
    keep(c, live, kind="preview", outcome="succeeded", ended_at=clock.now())

    assert "Nothing would change." in olga.get("/fleet/alice").text


def test_drift_is_shown_per_property(olga: FlaskClient, live: Instance, c: Clawdet) -> None:
    finding = {
        "resource": "record",
        "property": "content",
        "expected": "1.2.3.4",
        "found": "6.6.6.6",
    }
    with c.db.begin() as session:
        session.get_one(Instance, live.id).drift = [finding]

    page = olga.get("/fleet/alice").text

    for text in finding.values():
        assert text in page


def test_replacing_a_server_needs_the_name_typed(send: Send, live: Instance, c: Clawdet) -> None:
    assert "The name did not match." in send("/fleet/alice/approve", confirm="alicia").text
    assert actions(c) == []

    send("/fleet/alice/approve", confirm="alice")

    assert actions(c) == [("apply", True, "operator olga")]


def test_an_approval_is_added_to_an_apply_that_waits(
    send: Send, live: Instance, c: Clawdet
) -> None:
    send("/fleet/alice/ask", kind="apply")
    send("/fleet/alice/approve", confirm="alice")
    send("/fleet/alice/ask", kind="apply")

    assert actions(c) == [("apply", True, "operator olga")]


def test_destroying_needs_the_name_typed_and_is_recorded(
    send: Send, live: Instance, c: Clawdet
) -> None:
    assert "The name did not match." in send("/fleet/alice/destroy", confirm="").text
    assert again(c, live).desired == "running"

    send("/fleet/alice/destroy", confirm="alice")

    assert again(c, live).desired == "deleted"
    with c.db.read() as session:
        events = session.scalars(select(InstanceEvent).where(InstanceEvent.kind == "wanted")).all()
    assert [(e.actor, e.text) for e in events] == [("operator olga", "Asked to be deleted")]


def test_a_failed_instance_is_retried(send: Send, live: Instance, c: Clawdet) -> None:
    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        found.failed_step, found.failure = "installing", "npm broke"
        service.set_status(session, found, "failed", clock.now())

    assert "npm broke" in send("/fleet/alice/ask", kind="preview").text
    send("/fleet/alice/retry")

    assert again(c, live).status == "pending"


def test_a_suspended_instance_can_be_looked_at_and_nothing_else(
    send: Send, live: Instance, c: Clawdet
) -> None:
    with c.db.begin() as session:
        found = session.get_one(Instance, live.id)
        service.want(session, c.jobs, found, actor="stripe", why="unpaid", desired="suspended")

    for kind in ("apply", "restart", "rotate_token"):
        assert "alice is suspended." in send("/fleet/alice/ask", kind=kind).text
    assert "alice is suspended." in send("/fleet/alice/power", power="off").text
    assert actions(c) == []
    send("/fleet/alice/ask", kind="preview")
    assert [action[0] for action in actions(c)] == ["preview"]


def test_a_running_operation_is_cancelled_once(send: Send, live: Instance, c: Clawdet) -> None:
    running = keep(c, live, kind="up")
    path = f"/fleet/alice/operations/{running}"

    assert "It is being cancelled" in send(f"{path}/cancel").text
    with c.db.read() as session:
        assert session.get_one(Operation, running).cancel_requested


def test_an_operation_that_has_ended_is_not_cancelled(
    send: Send, live: Instance, c: Clawdet
) -> None:
    ended = keep(c, live, kind="up", outcome="succeeded", ended_at=clock.now())

    assert "has ended already" in send(f"/fleet/alice/operations/{ended}/cancel").text


def test_an_operations_page_has_its_log_its_error_and_its_changes(
    olga: FlaskClient, live: Instance, tell: Tell, c: Clawdet
) -> None:
    tell(live, ("openclaw", "", None, "npm: no space left"), outcome="failed")
    with c.db.begin() as session:
        operation = session.scalars(select(Operation)).one()
        operation.error, operation.changes = "the disk is full", CHANGES
        id_ = operation.id

    page = olga.get(f"/fleet/alice/operations/{id_}").text

    assert "npm: no space left" in page
    assert "the disk is full" in page
    assert "ubuntu-24" in page


def test_an_operations_stream_resumes_after_the_id_it_is_given(
    olga: FlaskClient, live: Instance, tell: Tell, c: Clawdet
) -> None:
    last = tell(live, ("node", "", None, "one"), ("node", "", None, "two"), outcome="succeeded")
    with c.db.read() as session:
        id_ = session.scalars(select(Operation.id)).one()

    path = f"/fleet/alice/operations/{id_}/events"
    resumed = olga.get(path, headers={"Last-Event-ID": str(last - 1)}).text

    assert "node: two" in resumed
    assert "node: one" not in resumed
    assert '"status":"complete"' in resumed


def test_an_operation_of_another_instance_is_not_found(
    olga: FlaskClient, live: Instance, c: Clawdet
) -> None:
    assert olga.get("/fleet/alice/operations/4711").status_code == 404


def test_viewers_look_and_change_nothing(
    sign_in_with: SignInWith, live: Instance, c: Clawdet
) -> None:
    vera = sign_in_with("viewer", "vera")
    post = sender(vera)

    page = vera.get("/fleet/alice")

    assert page.status_code == 200
    assert "Preview</button>" not in page.text
    for path, fields in (
        ("ask", {"kind": "preview"}),
        ("retry", {}),
        ("power", {"power": "off"}),
        ("approve", {"confirm": "alice"}),
        ("destroy", {"confirm": "alice"}),
    ):
        assert post(f"/fleet/alice/{path}", **fields).status_code == 404
    assert actions(c) == []
    assert again(c, live).generation == 1


def test_a_customer_finds_no_fleet_not_even_their_own_instance(
    client: FlaskClient, live: Instance
) -> None:
    assert client.get("/fleet/alice").status_code == 404
