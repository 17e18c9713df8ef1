"""The operations, one after the other, on stacks that nobody else touches."""

import re

import pytest

from stacks.errors import NeedsApproval, NoCapacity, OperationFailed, UnknownStack, UsageError
from stacks.events import CERTIFICATE_TYPE, RECORD_TYPE, SERVER_TYPE
from stacks.operations import Result
from tests.stacks.outside import Outside, address, location_of, type_of
from tests.stacks.workplace import Workplace, set_in_settings_file

pytestmark = pytest.mark.engine


def done(result: Result) -> set[tuple[str, str]]:
    """What happened to which kind of resource; components and providers left out."""
    kinds = {SERVER_TYPE: "server", RECORD_TYPE: "record", CERTIFICATE_TYPE: "certificate"}
    return {(kinds[c.type], c.op) for c in result.changes if c.type in kinds}


def test_a_life_from_nothing_to_nothing(place: Workplace, outside: Outside) -> None:
    stacks = place.initialised("alice")
    assert stacks.names() == ["alice"]
    assert stacks.outputs("alice") == {}
    everything = {("server", "create"), ("record", "create"), ("certificate", "create")}
    assert done(stacks.preview("alice")) == everything
    assert outside.is_empty()

    up = stacks.up("alice")
    assert done(up) == everything
    server, record = outside.server("alice"), outside.record("alice")
    assert server.labels == {"managed-by": "clawdet", "instance": "alice"}
    assert (record.content, record.proxied) == (address(server), True)
    assert len(outside.certificates("alice")) == 1
    outputs = stacks.outputs("alice")
    assert outputs == up.outputs
    assert (outputs["serverId"], outputs["ipv4"]) == (str(server.id), record.content)

    outside.forget_requests()
    again = stacks.up("alice")
    assert (again.changed, again.counts) == (False, {"same": 7})
    assert outside.changes() == []
    with pytest.raises(UsageError, match="still holds resources") as stop:
        stacks.remove("alice")
    assert "destroy alice" in stop.value.remedy

    destroyed = stacks.destroy("alice")
    assert {op for _, op in done(destroyed)} == {"delete"}
    assert outside.is_empty()
    kinds = [update["kind"] for update in stacks.history("alice")]
    assert kinds == ["destroy", "update"]  # what changes nothing is no update
    stacks.remove("alice")
    assert stacks.names() == []
    assert [name for name in place.files() if "alice" in name] == [".clawdet/locks/alice.lock"]
    with pytest.raises(UnknownStack):
        stacks.up("alice")


def test_refresh_writes_what_the_clouds_have_and_import_brings_an_export_back(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    document = stacks.export("alice")
    outside.delete_record("alice")
    assert done(stacks.refresh("alice")) == {("record", "delete")}
    assert not any(r["type"] == RECORD_TYPE for r in place.state("alice")["resources"])
    stacks.import_("alice", document)
    assert any(r["type"] == RECORD_TYPE for r in place.state("alice")["resources"])
    assert done(stacks.up("alice", refresh=True)) == {("record", "create")}


def test_drift_is_told_property_by_property_and_writes_nothing_and_repair_mends_it(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    server_id = outside.server("alice").id
    outside.delete_record("alice")
    outside.server("alice").update(labels={"managed-by": "clawdet", "by": "hand"})
    outside.resize("alice", "cpx32")
    outside.forget_requests()
    before = place.backend()
    drift = stacks.drift("alice")
    assert place.backend() == before
    assert outside.changes() == []
    assert done(drift) == {("record", "delete"), ("server", "update")}
    (change,) = (c for c in drift.changes if c.type == SERVER_TYPE)
    found = {p.path: (p.before, p.after) for p in change.properties}
    assert found["serverType"] == ("cpx22", "cpx32")
    assert found["labels.by"] == (None, "hand")
    assert found["labels.instance"] == ("alice", None)

    assert done(stacks.up("alice", refresh=True)) == {("record", "create"), ("server", "update")}
    server = outside.server("alice")
    assert (server.id, type_of(server), server.status) == (server_id, "cpx22", "running")
    assert server.labels == {"managed-by": "clawdet", "instance": "alice"}
    assert outside.record("alice").content == address(server)
    assert not stacks.drift("alice").changed


def test_a_server_that_is_gone_is_made_anew_only_when_that_is_approved(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    outside.delete_server("alice")
    assert done(stacks.drift("alice")) == {("server", "delete")}
    before = place.backend()
    with pytest.raises(NeedsApproval, match="made anew") as stop:
        stacks.up("alice", refresh=True)
    assert "--approve-server-change alice" in stop.value.remedy
    assert (place.backend(), outside.servers()) == (before, [])
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=412)
    result = stacks.up("alice", refresh=True, approve_server_change=True)
    assert result.notes == ("hel1 ran out of stock",)  # as any new server, where there is one
    assert outside.record("alice").content == address(outside.server("alice"))

    outside.delete_server("alice")
    stacks.refresh("alice")
    with pytest.raises(NeedsApproval, match="made anew"):  # the state has forgotten it, we have not
        stacks.up("alice")


def test_a_server_is_replaced_only_when_that_is_approved(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    server = outside.server("alice")
    set_in_settings_file(place, "alice", "location", "fsn1")
    with pytest.raises(NeedsApproval, match=f"{server.id}.*replaced because of location"):
        stacks.up("alice")
    assert outside.server("alice").id == server.id
    stacks.up("alice", approve_server_change=True)
    after = outside.server("alice")
    assert after.id != server.id
    assert location_of(after) == "fsn1"
    assert outside.record("alice").content == address(after)


def test_another_server_type_resizes_in_place_or_leaves_the_server_alone(
    place: Workplace, outside: Outside
) -> None:
    place.made("alice")
    server_id = outside.server("alice").id
    larger = place.stacks(clawdet_server_type="cpx32")
    larger.configure("alice", install=False)

    outside.sell_out("hel1", server_type="cpx32")
    outside.forget_requests()
    with pytest.raises(NoCapacity, match="no cpx32 in stock in hel1"):
        larger.up("alice")
    assert outside.changes() == []  # it was not even switched off

    outside.reset_stock()
    outside.fault(vendor="hetzner", method="POST", path="change_type$", status=412)
    with pytest.raises(NoCapacity):
        larger.up("alice")
    server = outside.server("alice")
    assert (server.id, type_of(server), server.status) == (server_id, "cpx22", "running")

    result = larger.up("alice")
    server = outside.server("alice")
    assert (server.id, type_of(server), server.status) == (server_id, "cpx32", "running")
    assert "switched the server on again" in result.notes


def test_a_record_that_is_not_ours_is_never_touched_nor_joined(
    place: Workplace, outside: Outside
) -> None:
    outside.add_record("alice", "192.0.2.7")
    stacks = place.initialised("alice")
    with pytest.raises(OperationFailed, match=re.escape("not ours: A 192.0.2.7")) as stop:
        stacks.up("alice")
    assert "choose another name" in stop.value.remedy
    assert outside.servers() == []  # nothing was bought
    stacks.destroy("alice")
    assert outside.record("alice").content == "192.0.2.7"
    outside.delete_record("alice")
    stacks.up("alice")
    assert outside.record("alice").content == address(outside.server("alice"))


def test_a_server_that_only_has_the_name_is_never_touched(
    place: Workplace, outside: Outside
) -> None:
    outside.add_server("alice")
    stacks = place.initialised("alice")
    with pytest.raises(OperationFailed, match="named alice at Hetzner that is not ours"):
        stacks.up("alice")
    stacks.destroy("alice")
    assert outside.server("alice").labels == {}
