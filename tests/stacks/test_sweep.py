"""The fast sweep: what it finds, what it asks for, what it leaves alone."""

import pytest

from stacks.errors import UnknownStack
from stacks.locks import hold_stack
from stacks.operations import Finding
from tests.stacks.outside import Outside, address
from tests.stacks.workplace import Workplace

pytestmark = pytest.mark.engine

LABELS = {"managed-by": "clawdet", "instance": "ghost"}


def test_the_sweep_tells_what_differs_stack_by_stack(place: Workplace, outside: Outside) -> None:
    stacks = place.made("alice", "bob")
    place.initialised("carol")
    outside.add_server("stranger")
    outside.add_record("elsewhere", "192.0.2.1")
    outside.forget_requests()
    assert stacks.sweep() == {"alice": [], "bob": [], "carol": [], "": []}
    lists = outside.requests()
    assert len(lists) <= 3
    assert {one.split("/")[-1] for one in lists} == {"servers", "dns_records"}

    alice, bob = outside.server("alice"), outside.server("bob")
    outside.delete_server("alice")
    outside.add_server("ghost", LABELS)
    outside.add_record("ghost", "192.0.2.2", comment="clawdet instance ghost")
    outside.resize("bob", "cpx32")
    bob.power_off().wait_until_finished()
    bob.update(labels={"managed-by": "clawdet"})
    outside.edit_record("bob", content="192.0.2.3", proxied=False)
    outside.add_record("bob", "192.0.2.4")
    expected = {
        "alice": [Finding("server", "id", str(alice.id), "")],
        "bob": [
            Finding("server", "status", "running", "off"),
            Finding("server", "serverType", "cpx22", "cpx32"),
            Finding("server", "labels.instance", "bob", ""),
            Finding("record", "content", address(bob), "192.0.2.3"),
            Finding("record", "proxied", "true", "false"),
            Finding("record", "content", address(bob), "192.0.2.4"),
        ],
        "carol": [],
        "": [
            Finding("server ghost", "id", "", str(outside.server("ghost").id)),
            Finding(f"record ghost.{outside.domain}", "id", "", outside.record("ghost").id),
        ],
    }
    assert stacks.sweep() == expected

    assert stacks.sweep(["alice"]) == {"alice": expected["alice"], "": expected[""]}
    with pytest.raises(UnknownStack):
        stacks.sweep(["alice", "ghost"])
    with hold_stack(place.directory / ".clawdet" / "locks", "bob", "up"):
        assert stacks.sweep().keys() == {"alice", "carol", ""}  # it is changing
    outside.delete_record("alice")
    missing = Finding("record", "name", f"alice.{outside.domain}", "")
    assert stacks.sweep(["alice"])["alice"] == [*expected["alice"], missing]
    stacks.refresh("alice")  # the state forgets the server; a customer still pays for it
    assert stacks.sweep(["alice"])["alice"] == expected["alice"]
    stacks.destroy("alice")
    assert stacks.sweep(["alice"])["alice"] == []


def test_a_second_server_of_a_stack_belongs_to_none(place: Workplace, outside: Outside) -> None:
    stacks = place.made("alice")
    outside.add_server("twin", outside.server("alice").labels)
    twin = next(server for server in outside.servers() if server.name == "twin")
    orphan = Finding("server twin", "id", "", str(twin.id))
    assert stacks.sweep() == {"alice": [], "": [orphan]}
    place.initialised("bob")
    assert stacks.sweep(["bob"]) == {"bob": [], "": [orphan]}
