"""`python -m stacks` on servers: what its commands print, and their exit codes."""

import re

import pytest

from tests.stacks.outside import Outside
from tests.stacks.test_commands import all_at_once, answer, refusal
from tests.stacks.workplace import Workplace

pytestmark = pytest.mark.engine


def test_a_server_by_commands(place: Workplace, outside: Outside) -> None:
    stacks = place.made("alice")
    server_id = outside.server("alice").id
    off = place.run("power", "alice", "off")
    assert (off.returncode, off.stdout) == (0, "the server of alice is off\n")

    findings, table, stock = all_at_once(
        place, ["sweep", "alice", "--json"], ["sweep"], ["capacity", "--json"]
    )
    status = {"resource": "server", "property": "status", "expected": "running", "found": "off"}
    assert answer(findings, 5) == {"alice": [status], "": []}
    assert table.returncode == 5
    assert re.search(r"alice +server +status +running +off", table.stdout)
    assert answer(stock) == {"hel1": True, "fsn1": True, "nbg1": True}

    assert answer(place.run("restart", "alice", "--json")) == {"stack": "alice"}
    assert outside.server("alice").status == "running"
    image = answer(place.run("backup", "alice", "--json"))["image"]
    assert [str(one.id) for one in outside.snapshots()] == [image]
    token = place.run("rotate-token", "alice").stdout.strip()
    assert stacks.secrets("alice").gateway_token == token
    rebuilt = answer(place.run("rebuild", "alice", "--yes", "alice", "--json"))
    assert rebuilt["operation"] == "rebuild"
    assert rebuilt["outputs"]["serverId"] == str(outside.server("alice").id) != str(server_id)
    whole = place.run("sweep")
    assert (whole.returncode, whole.stdout) == (0, "the clouds have what the stacks expect\n")


def test_a_server_that_is_not_there_and_a_name_that_is_not_typed(
    place: Workplace, outside: Outside
) -> None:
    place.initialised("alice")
    outside.sell_out("hel1", "fsn1", "nbg1")
    unpowered, unnamed, misnamed, unknown, sold_out, wrong = all_at_once(
        place,
        ["power", "alice", "on"],
        ["rebuild", "alice"],
        ["rebuild", "alice", "--yes", "bob"],
        ["sweep", "ghost"],
        ["capacity"],
        ["power", "alice", "sideways"],
    )
    assert "alice has no server" in refusal(unpowered, 1)
    assert "rebuild alice --yes alice" in refusal(unnamed, 2)
    assert "--yes says 'bob'" in refusal(misnamed, 2)
    assert "no stack 'ghost'" in refusal(unknown, 2)
    assert sold_out.returncode == 1
    assert len(re.findall("sold out", sold_out.stdout)) == 3
    assert wrong.returncode == 2
