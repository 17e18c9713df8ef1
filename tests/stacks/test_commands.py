"""`python -m stacks`: what it prints where, its exit codes, its JSON."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stacks.locks import hold_stack
from tests.stacks.outside import Outside
from tests.stacks.workplace import Workplace, ended

pytestmark = pytest.mark.engine

COMMANDS = """
    init configure preview up refresh drift destroy cancel outputs history export import check token
    list env setup doctor power restart rotate-token rebuild backup capacity sweep
""".split()  # noqa: SIM905 (a list of names reads best as words)


def all_at_once(place: Workplace, *commands: list[str]) -> "list[subprocess.CompletedProcess[str]]":
    """The ends of commands that run side by side."""
    return [ended(process) for process in [place.start(*command) for command in commands]]


def answer(ran: "subprocess.CompletedProcess[str]", code: int = 0) -> Any:
    """The one JSON document on stdout of a command that ended with `code`."""
    assert ran.returncode == code, ran.stderr
    return json.loads(ran.stdout)


def refusal(ran: "subprocess.CompletedProcess[str]", code: int) -> str:
    """The error of a command that ended with `code`: a line of what and a line of what to do."""
    assert (ran.returncode, ran.stdout) == (code, "")
    what, what_to_do = ran.stderr.splitlines()
    assert what.startswith("error: ")
    assert what_to_do.strip()
    return ran.stderr


def test_help_lists_every_command_and_exit_code(place: Workplace) -> None:
    ran = place.run("--help")
    assert ran.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^    {command}\b", ran.stdout, re.MULTILINE)
    for meaning in ("0 done", "2 wrong usage", "3 busy", "4 needs approval", "5 drift", "130"):
        assert meaning in ran.stdout


def test_a_life_by_commands(place: Workplace, outside: Outside, tmp_path: Path) -> None:
    assert answer(place.run("init", "alice", "--without-install", "--json")) == {"stack": "alice"}
    up = place.run("up", "alice", "--json")
    result = answer(up)
    assert set(result) == {
        "stack", "operation", "changes", "counts", "outputs", "seconds", "notes", "changed",
    }  # fmt: skip
    assert (result["operation"], result["changed"]) == ("up", True)
    assert {c["name"] for c in result["changes"]} >= {"server", "record", "certificate"}
    assert set(result["changes"][0]) == {"urn", "type", "name", "op", "properties"}
    for line in ("creating_vps     server       create done", "configuring_dns  record "):
        assert line in up.stderr

    shown = all_at_once(
        place,
        *([name, "alice"] for name in ("outputs", "history", "export", "token")),
        *([name, "alice", "--json"] for name in ("outputs", "history")),
        ["list", "--json"],
    )
    assert result["outputs"]["ipv4"] in shown[0].stdout
    assert re.search(r"update +succeeded", shown[1].stdout)
    exported = tmp_path / "state.json"
    exported.write_text(shown[2].stdout)
    assert re.fullmatch("[0-9a-f]{64}", shown[3].stdout.strip())
    assert answer(shown[4]) == result["outputs"]
    (update,) = answer(shown[5])
    assert (update["kind"], update["result"]) == ("update", "succeeded")
    assert answer(shown[6]) == [{"stack": "alice", "holder": None}]
    assert answer(place.run("import", "alice", str(exported), "--json")) == {"stack": "alice"}

    outside.delete_server("alice")
    drift = place.run("drift", "alice")
    assert drift.returncode == 5
    assert re.search(r"- delete +Server +server\n +THIS ENDS THE SERVER", drift.stdout)
    stopped = refusal(place.run("up", "alice", "--refresh"), 4)
    assert "python -m stacks up alice --refresh --approve-server-change alice" in stopped
    assert "--yes alice" in refusal(place.run("destroy", "alice"), 2)
    gone = place.run("destroy", "alice", "--yes", "alice", "--remove")
    assert gone.returncode == 0
    assert "destroy of alice: " in gone.stdout
    assert outside.is_empty()
    refusal(place.run("outputs", "alice"), 2)


def test_wrong_usage_is_exit_code_2(place: Workplace, tmp_path: Path) -> None:
    place.initialised("alice")
    unused, unknown = all_at_once(place, ["up"], ["frobnicate", "alice"])
    assert unused.returncode == unknown.returncode == 2
    documents = {name: tmp_path / name for name in ("empty", "half", "list", "bare")}
    for name, text in zip(documents, ("", "{", "[]", '{"version": 3}'), strict=True):
        documents[name].write_text(text)
    expected = {
        "'a_b' is no stack name": ["up", "a_b"],
        "no stack 'ghost'": ["drift", "ghost"],
        "--yes says 'bob'": ["destroy", "alice", "--yes", "bob"],
        "--approve-server-change says 'bob'": ["up", "alice", "--approve-server-change", "bob"],
    } | {str(file): ["import", "alice", str(file)] for file in documents.values()}
    refused = all_at_once(place, *expected.values())
    for words, ran in zip(expected, refused, strict=True):
        assert words in refusal(ran, 2)
    refusal(place.run("up", "alice", PULUMI_CONFIG_PASSPHRASE=""), 2)
    refusal(place.run("up", "alice", CLAWDET_MAX_OPERATIONS="many"), 2)


def test_a_busy_stack_is_exit_code_3(place: Workplace) -> None:
    place.initialised("alice")
    with hold_stack(place.directory / ".clawdet" / "locks", "alice", "up"):
        assert "alice is busy: up, process " in refusal(place.run("preview", "alice"), 3)
        (row,) = answer(place.run("list", "--json"))
        assert row["holder"].startswith("up, process ")


def test_a_failure_is_exit_code_1_and_no_traceback(place: Workplace, outside: Outside) -> None:
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=500)
    place.initialised("alice")
    ran = place.run("up", "alice")
    assert ran.returncode == 1
    what, what_to_do = ran.stderr.splitlines()
    assert what == "error: server: an unexpected error occurred (server_error)"
    assert "`python -m stacks up alice` goes on from there" in what_to_do


def test_an_operation_outlives_whoever_read_its_output(place: Workplace, outside: Outside) -> None:
    place.initialised("alice")
    driver = place.start("up", "alice")
    assert driver.stdout
    driver.stdout.close()
    driver.stdout = None
    ran = ended(driver)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(outside.servers()) == len(outside.records()) == 1
    assert not place.stacks().up("alice").changed


def test_env_lets_plain_pulumi_work_on_the_same_stacks(place: Workplace) -> None:
    place.initialised("alice")
    script = 'eval "$("$0" -m stacks env)" && cd "$CLAWDET_PROJECT" && pulumi stack ls --json'
    ran = subprocess.run(
        ["sh", "-c", script, sys.executable],
        cwd=Path(__file__).parents[2], env=place.environment(), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert [stack["name"] for stack in json.loads(ran.stdout)] == ["alice"]
