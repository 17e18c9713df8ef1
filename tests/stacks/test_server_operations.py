"""What is done with a server that stands, and a server that is made anew on purpose."""

import re
from typing import Any

import pytest

from stacks.errors import Busy, NoCapacity, OperationFailed, UsageError
from stacks.events import SERVER_TYPE, Progress
from stacks.locks import hold_stack
from tests.stacks.outside import Outside, location_of, until
from tests.stacks.test_concurrency import in_threads
from tests.stacks.test_crash import check_whole
from tests.stacks.workplace import Workplace

pytestmark = pytest.mark.engine

POWER = re.compile(r"^POST /v1/servers/\d+/actions/(\w+)$")
HEARD = {
    "id": 1, "command": "shutdown_server", "status": "success", "progress": 100, "error": None,
    "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:00+00:00",
    "resources": [],
}  # fmt: skip


def orders(outside: Outside) -> list[str]:
    """The actions asked of servers since they were last forgotten, which they are now."""
    found = [match[1] for one in outside.changes() if (match := POWER.match(one))]
    outside.forget_requests()
    return found


def ignore_shutdown(outside: Outside) -> None:
    """The next request to shut down is answered, and the guest does not listen."""
    done = {"action": HEARD}
    outside.fault(vendor="hetzner", method="POST", path="/shutdown$", status=201, body=done)
    outside.fault(vendor="hetzner", method="GET", path="/actions/1$", status=200, body=done)


def test_power_and_restart_do_what_is_needed_and_no_more(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    assert stacks.server_status("alice") is None
    with pytest.raises(OperationFailed, match="alice has no server") as stop:
        stacks.restart("alice")
    assert "stacks up alice" in stop.value.remedy
    stacks.up("alice")
    outside.forget_requests()

    stacks.power("alice", on=True)
    assert (orders(outside), stacks.server_status("alice")) == ([], "running")
    for _ in range(2):
        stacks.power("alice", on=False)
        assert stacks.server_status("alice") == "off"
    assert orders(outside) == ["shutdown"]
    assert not stacks.up("alice").changed
    assert stacks.server_status("alice") == "off"  # `up` is no reason to switch it on
    stacks.restart("alice")
    assert (orders(outside), stacks.server_status("alice")) == (["poweron"], "running")
    stacks.restart("alice")
    assert (orders(outside), stacks.server_status("alice")) == (["shutdown", "poweron"], "running")

    ignore_shutdown(outside)
    stacks.restart("alice", patience_s=0.5)
    assert (orders(outside), stacks.server_status("alice")) == (["shutdown", "reset"], "running")
    ignore_shutdown(outside)
    stacks.power("alice", on=False, patience_s=0.5)
    assert (orders(outside), stacks.server_status("alice")) == (["shutdown", "poweroff"], "off")

    with hold_stack(place.directory / ".clawdet" / "locks", "alice", "up"):
        with pytest.raises(Busy, match="alice is busy: up"):
            stacks.power("alice", on=True)
        assert stacks.server_status("alice") == "off"  # who looks needs no lock
    outside.server("alice").update(labels={})
    with pytest.raises(OperationFailed, match="does not carry the labels of alice"):
        stacks.power("alice", on=True)
    assert orders(outside) == []


def test_a_power_operation_leaves_a_dead_up_to_the_next_one(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", kind="lost_response")
    with pytest.raises(OperationFailed):
        stacks.up("alice")
    server_id = outside.server("alice").id
    stacks.power("alice", on=False)  # found by its labels: the state does not know it
    assert stacks.server_status("alice") == "off"
    notes = stacks.up("alice").notes
    assert f"adopted server {server_id}, made by an operation that did not finish" in notes
    assert outside.server("alice").status == "running"


def test_a_final_backup_is_made_once_and_outlives_its_server(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    assert stacks.backup("alice") == ""
    stacks.up("alice")
    outside.fault(vendor="hetzner", method="POST", path="/create_image$", kind="lost_response")
    with pytest.raises(OperationFailed, match="Hetzner can't be reached"):
        stacks.backup("alice")
    image_id = stacks.backup("alice")
    assert stacks.backup("alice") == image_id
    (image,) = outside.snapshots()
    assert (str(image.id), image.status) == (image_id, "available")
    server_id = str(outside.server("alice").id)
    assert image.labels == {
        "managed-by": "clawdet", "instance": "alice", "reason": "final-backup", "server": server_id
    }  # fmt: skip
    assert re.fullmatch(r"alice: final backup, \d{4}-\d\d-\d\d", image.description or "")

    stacks.rebuild("alice")
    assert stacks.backup("alice") != image_id  # another server, another disk
    stacks.destroy("alice")
    assert stacks.backup("alice") == ""
    assert len(outside.snapshots()) == 2


def test_a_rebuilt_server_is_another_one_and_the_rest_is_kept(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    before, certificates = outside.server("alice"), outside.certificates("alice")
    record_id, secrets = outside.record("alice").id, stacks.secrets("alice")
    heard: list[Progress] = []
    result = stacks.rebuild("alice", on_progress=heard.append)
    assert result.operation == "rebuild"
    after = outside.server("alice")
    assert (after.id != before.id, location_of(after)) == (True, location_of(before))
    assert (outside.record("alice").id, outside.certificates("alice")) == (record_id, certificates)
    assert stacks.secrets("alice") == secrets
    told = [(p.phase, p.resource, p.op, p.state) for p in heard]
    assert ("creating_vps", "server", "create-replacement", "done") in told
    assert ("configuring_dns", "record", "update", "done") in told
    times = [p.at for p in heard]
    assert times == sorted(times)
    check_whole(place, stacks, outside)

    outside.sell_out("hel1", "fsn1", "nbg1")
    with pytest.raises(NoCapacity):
        stacks.rebuild("alice")
    assert outside.server("alice").id == after.id  # nothing was ended
    outside.reset_stock()
    outside.sell_out("hel1")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=412)
    result = stacks.rebuild("alice")  # fsn1 looked as if it had one
    assert "fsn1 ran out of stock" in result.notes
    assert location_of(outside.server("alice")) == "nbg1"
    outside.reset_stock()
    check_whole(place, stacks, outside)


@pytest.mark.parametrize(
    "trouble",
    [
        {"method": "POST", "path": "^/v1/servers$", "status": 503},
        {"method": "POST", "path": "^/v1/servers$", "kind": "lost_response"},
        {"method": "DELETE", "path": "^/v1/servers/", "status": 503},
    ],
    ids=["no new server", "a new one nobody heard of", "the old one stays"],
)
def test_a_rebuild_that_fails_half_way_is_mended_by_the_next_up(
    place: Workplace, outside: Outside, trouble: dict[str, Any]
) -> None:
    stacks = place.made("alice")
    outside.sell_out("hel1")  # it was to go elsewhere
    outside.fault(vendor="hetzner", times=8 if trouble["method"] == "DELETE" else 1, **trouble)
    with pytest.raises(OperationFailed):
        stacks.rebuild("alice")
    outside.mend()
    stacks.up("alice")
    stays = trouble["method"] == "DELETE"
    assert location_of(outside.server("alice")) == ("hel1" if stays else "fsn1")
    check_whole(place, stacks, outside)


def test_a_rebuild_that_is_killed_while_the_old_server_ends_is_mended_by_the_next_up(
    own_plugins: Workplace, place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    before = outside.server("alice")
    outside.stall()
    with in_threads() as run:
        rebuild = run(own_plugins.stacks().rebuild, "alice")
        until(lambda: not outside.servers(), "the old server's end")
        until(lambda: place.engine_of("alice"), "the engine").kill()
        with pytest.raises(OperationFailed, match="ended by SIGKILL"):
            rebuild.result()
    outside.mend()
    (known,) = (r["id"] for r in place.state("alice")["resources"] if r["type"] == SERVER_TYPE)
    assert known == str(before.id)  # nobody told the state
    stacks.up("alice")
    assert outside.server("alice").id != before.id
    check_whole(place, stacks, outside)


def test_a_new_token_is_kept_and_nothing_else_changes(place: Workplace, outside: Outside) -> None:
    stacks = place.initialised("alice")
    before = stacks.secrets("alice")
    token = stacks.rotate_token("alice")
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token != before.gateway_token
    assert stacks.secrets("alice") == before.model_copy(update={"gateway_token": token})
    assert not any(token.encode() in content for content in place.files().values())


def test_capacity_says_which_locations_have_the_server_type(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.stacks()
    assert stacks.capacity() == {"hel1": True, "fsn1": True, "nbg1": True}
    outside.sell_out("hel1", "fsn1")
    assert stacks.capacity() == {"hel1": False, "fsn1": False, "nbg1": True}
    assert stacks.capacity(("fsn1",)) == {"fsn1": False}
    with pytest.raises(UsageError, match="no server type 'cpx99'"):
        place.stacks(clawdet_server_type="cpx99").capacity()
