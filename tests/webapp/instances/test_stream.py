import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.webapp.instances.conftest import MakeInstance, Tell
from webapp import clock
from webapp.accounts.models import User
from webapp.http.context import Clawdet
from webapp.instances import service, stream
from webapp.instances.models import Instance, Operation
from webapp.instances.stream import Stream, Watcher

Told = list[dict[str, Any]]
Settle = Callable[[str], None]

TIMEOUT_S = 60


def parse(chunks: Iterable[str]) -> Told:
    """Events as a browser has them."""
    found = []
    for block in "".join(chunks).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" in fields:
            event = {"event": fields["event"], "data": json.loads(fields["data"])}
            found.append(event | ({"id": fields["id"]} if "id" in fields else {}))
    return found


def texts(told: Told) -> list[str]:
    return [event["data"]["text"] for event in told if event["event"] == "log"]


@pytest.fixture
def born(alice: User, make_instance: MakeInstance) -> Instance:
    return make_instance(alice, status="installing")


@pytest.fixture
def settle(born: Instance, c: Clawdet) -> Settle:
    def settle(status: Any) -> None:
        with c.db.begin() as session:
            found = session.get_one(Instance, born.id)
            service.set_status(session, found, status, clock.now())

    return settle


def test_a_stream_tells_steps_lines_and_the_status_and_ends_when_it_is_settled(
    client: FlaskClient, born: Instance, tell: Tell, settle: Settle
) -> None:
    last = tell(
        born, ("node", "started", None, ""), ("node", "", None, "hi"), ("node", "done", 2.0, "")
    )
    settle("complete")

    answer = client.get("/api/provisioning/events")
    told = parse([answer.text])

    assert answer.content_type.startswith("text/event-stream")
    assert [event["event"] for event in told] == ["step", "log", "log", "step", "log", "status"]
    assert set(told[0]["data"]) == {"step", "state", "title", "detail", "elapsedS", "usualS"}
    assert told[0]["data"]["step"] == "node"
    assert told[3]["data"]["elapsedS"] == 2.0
    assert texts(told) == ["node started", "node: hi", "node done after 2.0 s"]
    assert told[4]["id"] == str(last)
    assert told[-1] == {
        "event": "status",
        "data": {"status": "complete"},
        "id": f"{last}-complete",
    }


def test_a_browser_that_was_cut_off_is_told_what_it_missed_and_no_more(
    client: FlaskClient, born: Instance, tell: Tell, settle: Settle
) -> None:
    first = tell(born, ("node", "", None, "one"))
    tell(born, ("node", "", None, "two"), ("node", "", None, "three"))
    settle("complete")

    resumed = client.get("/api/provisioning/events", headers={"Last-Event-ID": str(first)})
    asked = client.get(f"/api/provisioning/events?after={first}")

    assert texts(parse([resumed.text])) == ["node: two", "node: three"]
    assert texts(parse([asked.text])) == ["node: two", "node: three"]


def test_the_header_counts_more_than_the_address(
    client: FlaskClient, born: Instance, tell: Tell, settle: Settle
) -> None:
    last = tell(born, ("node", "", None, "one"), ("node", "", None, "two"))
    settle("complete")

    answer = client.get("/api/provisioning/events?after=0", headers={"Last-Event-ID": str(last)})

    assert texts(parse([answer.text])) == []


def test_a_browser_that_knows_all_of_it_is_told_to_stop(
    client: FlaskClient, born: Instance, tell: Tell, settle: Settle
) -> None:
    last = tell(born, ("node", "", None, "one"))
    settle("complete")

    knows_all = client.get(
        "/api/provisioning/events", headers={"Last-Event-ID": f"{last}-complete"}
    )
    misses_the_end = client.get(
        "/api/provisioning/events", headers={"Last-Event-ID": f"{last}-installing"}
    )

    assert knows_all.status_code == 204
    assert [e["event"] for e in parse([misses_the_end.text])] == ["status"]


@pytest.mark.parametrize("id_", ["", "nonsense", "-5", "99999999999999999999999", "1;drop"])
def test_an_id_of_nobodys_making_begins_at_the_beginning(
    id_: str, client: FlaskClient, born: Instance, tell: Tell, settle: Settle
) -> None:
    tell(born, ("node", "", None, "one"))
    settle("complete")

    answer = client.get("/api/provisioning/events", headers={"Last-Event-ID": id_})

    assert texts(parse([answer.text])) == ["node: one"]


def test_an_open_stream_hears_of_what_happens_elsewhere(
    born: Instance, c: Clawdet, tell: Tell, settle: Settle
) -> None:
    opened = Stream(c.db, Watcher(c.db, poll_s=0.05), born.id, "alice.example", heartbeat_s=60)
    told: list[str] = []
    told_first = threading.Event()

    def listen() -> None:
        for chunk in opened.events():
            told.append(chunk)
            told_first.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert told_first.wait(TIMEOUT_S)
    tell(born, ("node", "started", None, "off it goes"))
    settle("complete")
    listener.join(TIMEOUT_S)

    assert not listener.is_alive()
    assert texts(parse(told)) == ["node: off it goes"]
    assert parse(told)[-1]["data"] == {"status": "complete"}


def test_a_quiet_stream_sends_heartbeats(born: Instance, c: Clawdet) -> None:
    opened = Stream(c.db, Watcher(c.db), born.id, "alice.example", heartbeat_s=0.01)
    events = opened.events()

    chunks = [next(events) for _ in range(4)]
    events.close()

    assert stream.HEARTBEAT in chunks


def test_more_rows_than_fit_a_batch_arrive_without_waiting(
    born: Instance, c: Clawdet, tell: Tell, settle: Settle
) -> None:
    rows = [("node", "", None, str(number)) for number in range(stream.BATCH + 10)]
    tell(born, *rows)
    settle("complete")

    told = parse(Stream(c.db, Watcher(c.db), born.id, "alice.example", heartbeat_s=600).events())

    assert len(texts(told)) == stream.BATCH + 10


def test_one_poller_serves_every_stream_and_ends_with_the_last(born: Instance, c: Clawdet) -> None:
    watcher = Watcher(c.db, poll_s=0.02)
    before = {thread.ident for thread in threading.enumerate()}

    def pollers() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name == "progress" and t.ident not in before]

    streams = [Stream(c.db, watcher, born.id, "alice.example").events() for _ in range(50)]
    for events in streams:
        next(events)
    running = pollers()
    for events in streams:
        events.close()
    for thread in running:
        thread.join(TIMEOUT_S)

    assert len(running) == 1
    assert not running[0].is_alive()


def test_a_stream_of_one_operation_ends_with_it_and_tells_no_other(
    born: Instance, c: Clawdet, tell: Tell
) -> None:
    tell(born, ("node", "", None, "of another"), outcome="succeeded")
    tell(born, ("node", "", None, "of this one"), kind="preview", outcome="failed")
    with c.db.read() as session:
        operation = session.query(Operation).filter_by(kind="preview").one()

    watcher = Watcher(c.db)
    told = parse(_events(c, watcher, born, operation.id))

    assert texts(told) == ["node: of this one"]
    assert told[-1]["data"] == {"status": "failed"}


def _events(c: Clawdet, watcher: Watcher, born: Instance, operation_id: int) -> Iterator[str]:
    return Stream(c.db, watcher, born.id, "alice", operation_id=operation_id).events()
