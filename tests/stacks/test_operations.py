"""The operations, one after the other, on stacks that nobody else touches."""

import re

import pytest
import yaml

from stacks.errors import NeedsApproval, NoCapacity, OperationFailed, UnknownStack, UsageError
from stacks.events import CERTIFICATE_TYPE, RECORD_TYPE, SERVER_TYPE
from stacks.operations import Result, Stacks
from tests.stacks.outside import Outside
from tests.stacks.workplace import Workplace

pytestmark = pytest.mark.engine


def done(result: Result) -> set[tuple[str, str]]:
    """What happened to which kind of resource; components and providers left out."""
    kinds = {SERVER_TYPE: "server", RECORD_TYPE: "record", CERTIFICATE_TYPE: "certificate"}
    return {(kinds[c.type], c.op) for c in result.changes if c.type in kinds}


def set_in_settings_file(place: Workplace, slug: str, key: str, value: str) -> None:
    """What an operator's `pulumi config set` does."""
    file = place.settings_file(slug)
    document = yaml.safe_load(file.read_text())
    document["config"][f"clawdet:{key}"] = value
    file.write_text(yaml.safe_dump(document))


def test_a_life_from_nothing_to_nothing(place: Workplace, outside: Outside) -> None:
    stacks = place.stacks()
    stacks.init("alice", install=False)
    assert stacks.names() == ["alice"]
    assert stacks.outputs("alice") == {}
    plan = stacks.preview("alice")
    everything = {("server", "create"), ("record", "create"), ("certificate", "create")}
    assert done(plan) == everything
    assert outside.is_empty()

    up = stacks.up("alice")
    assert done(up) == everything
    server, record = outside.server("alice"), outside.record("alice")
    assert server.labels == {"managed-by": "clawdet", "instance": "alice"}
    assert (record.content, record.proxied) == (server.public_net.ipv4.ip, True)
    assert len(outside.certificates("alice")) == 1
    outputs = stacks.outputs("alice")
    assert outputs == up.outputs
    assert (outputs["serverId"], outputs["ipv4"]) == (str(server.id), record.content)

    assert not stacks.drift("alice").changed
    destroyed = stacks.destroy("alice")
    assert {op for _, op in done(destroyed)} == {"delete"}
    assert outside.is_empty()
    kinds = [update["kind"] for update in stacks.history("alice")]
    assert kinds == ["destroy", "update"]
    stacks.remove("alice")
    assert stacks.names() == []
    assert [name for name in place.files() if "alice" in name] == [".clawdet/locks/alice.lock"]
    with pytest.raises(UnknownStack):
        stacks.up("alice")


def test_a_second_up_changes_nothing_and_asks_the_clouds_for_no_change(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    outside.forget_requests()
    result = stacks.up("alice")
    assert not result.changed
    assert result.counts == {"same": 7}
    assert outside.changes() == []


def test_an_exported_state_can_be_imported_again(place: Workplace, outside: Outside) -> None:
    stacks = place.made("alice")
    document = stacks.export("alice")
    outside.delete_record("alice")
    stacks.refresh("alice")
    assert place.state("alice") != document["deployment"]
    stacks.import_("alice", document)
    assert len(place.state("alice")["resources"]) == len(document["deployment"]["resources"])
    assert ("record", "delete") in done(stacks.drift("alice"))


def test_drift_is_told_property_by_property_and_writes_nothing(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    outside.delete_record("alice")
    outside.server("alice").update(labels={"managed-by": "clawdet", "by": "hand"})
    outside.resize("alice", "cpx32")
    outside.forget_requests()
    before = place.backend()
    drift = stacks.drift("alice")
    assert place.backend() == before
    assert outside.changes() == []
    assert done(drift) == {("record", "delete"), ("server", "update")}
    (server,) = (c for c in drift.changes if c.type == SERVER_TYPE)
    found = {p.path: (p.before, p.after) for p in server.properties}
    assert found["serverType"] == ("cpx22", "cpx32")
    assert found["labels.by"] == (None, "hand")
    assert found["labels.instance"] == ("alice", None)


def test_repair_puts_everything_back_and_the_server_is_on(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    server_id = outside.server("alice").id
    outside.delete_record("alice")
    outside.server("alice").update(labels={"instance": "alice", "by": "hand"})
    outside.resize("alice", "cpx32")
    result = stacks.up("alice", refresh=True)
    assert done(result) == {("record", "create"), ("server", "update")}
    server = outside.server("alice")
    assert (server.id, server.server_type.name, server.status) == (server_id, "cpx22", "running")
    assert server.labels == {"managed-by": "clawdet", "instance": "alice"}
    assert outside.record("alice").content == server.public_net.ipv4.ip
    assert not stacks.drift("alice").changed


def test_refresh_writes_what_the_clouds_have(place: Workplace, outside: Outside) -> None:
    stacks = place.made("alice")
    outside.delete_record("alice")
    assert done(stacks.refresh("alice")) == {("record", "delete")}
    assert not any(r["type"] == RECORD_TYPE for r in place.state("alice")["resources"])
    assert done(stacks.up("alice")) == {("record", "create")}


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
    stacks.refresh("alice")
    with pytest.raises(NeedsApproval, match="made anew"):  # the state has forgotten it, we have not
        stacks.up("alice")
    stacks.up("alice", approve_server_change=True)
    assert outside.record("alice").content == outside.server("alice").public_net.ipv4.ip


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
    assert after.datacenter.location.name == "fsn1"
    assert outside.record("alice").content == after.public_net.ipv4.ip


def test_another_server_type_resizes_in_place_and_leaves_the_server_on(
    place: Workplace, outside: Outside
) -> None:
    server_id = place.made("alice") and outside.server("alice").id
    larger = place.stacks(clawdet_server_type="cpx32")
    larger.configure("alice", install=False)
    result = larger.up("alice")
    server = outside.server("alice")
    assert (server.id, server.server_type.name, server.status) == (server_id, "cpx32", "running")
    assert "switched the server on again" in result.notes
    assert not larger.drift("alice").changed


def test_a_type_that_is_sold_out_never_switches_the_server_off(
    place: Workplace, outside: Outside
) -> None:
    place.made("alice")
    larger = place.stacks(clawdet_server_type="cpx32")
    larger.configure("alice", install=False)
    outside.sell_out("hel1", server_type="cpx32")
    outside.forget_requests()
    with pytest.raises(NoCapacity, match="no cpx32 in stock in hel1"):
        larger.up("alice")
    assert outside.changes() == []


def test_a_resize_that_fails_leaves_the_server_on_and_where_it_is(
    place: Workplace, outside: Outside
) -> None:
    place.made("alice")
    server = outside.server("alice")
    larger = place.stacks(clawdet_server_type="cpx32")
    larger.configure("alice", install=False)
    outside.fault(vendor="hetzner", method="POST", path="change_type$", status=412)
    with pytest.raises(NoCapacity):
        larger.up("alice")
    after = outside.server("alice")
    assert (after.id, after.status, after.server_type.name) == (server.id, "running", "cpx22")
    larger.up("alice")
    assert outside.server("alice").server_type.name == "cpx32"


def test_a_record_that_is_not_ours_is_never_touched_nor_joined(
    stacks: Stacks, outside: Outside
) -> None:
    outside.add_record("alice", "192.0.2.7")
    stacks.init("alice", install=False)
    with pytest.raises(OperationFailed, match=re.escape("not ours: A 192.0.2.7")) as stop:
        stacks.up("alice")
    assert "choose another name" in stop.value.remedy
    assert outside.servers() == []  # nothing was bought
    stacks.destroy("alice")
    assert outside.record("alice").content == "192.0.2.7"
    outside.delete_record("alice")
    stacks.up("alice")
    assert outside.record("alice").content == outside.server("alice").public_net.ipv4.ip


def test_a_server_that_only_has_the_name_is_never_touched(stacks: Stacks, outside: Outside) -> None:
    outside.add_server("alice")
    stacks.init("alice", install=False)
    with pytest.raises(OperationFailed, match="named alice at Hetzner that is not ours"):
        stacks.up("alice")
    stacks.destroy("alice")
    assert outside.server("alice").labels == {}


def test_a_stack_that_holds_resources_is_not_removed(place: Workplace) -> None:
    stacks = place.made("alice")
    with pytest.raises(UsageError, match="still holds resources") as stop:
        stacks.remove("alice")
    assert "destroy alice" in stop.value.remedy
    assert stacks.names() == ["alice"]
