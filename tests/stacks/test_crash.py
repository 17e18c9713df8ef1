"""Operations that die in the middle, lost answers, clouds that stall: the next one mends it."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.plugins.install import install
from stacks.errors import NoCapacity, OperationFailed
from stacks.operations import Stacks
from tests.signals import send_aside
from tests.stacks.outside import Outside, address, location_of, until
from tests.stacks.workplace import Workplace, ended, set_in_settings_file

pytestmark = pytest.mark.engine

ENDS_S = 30.0


def check_whole(place: Workplace, stacks: Stacks, outside: Outside, slug: str = "alice") -> None:
    """Exactly one of everything, as the state has it; nothing pending, no lock, no process."""
    server, record = outside.server(slug), outside.record(slug)
    assert server.status == "running"
    assert record.content == address(server)
    assert len(outside.certificates(slug)) == 1
    assert stacks.outputs(slug)["serverId"] == str(server.id)
    assert not place.state(slug).get("pending_operations")
    assert not place.backend_locks(slug)
    assert stacks.holder(slug) is None
    assert place.processes() == []
    assert not stacks.up(slug).changed


def begin_up(place: Workplace, outside: Outside) -> "subprocess.Popen[str]":
    """`up` of alice in a process of its own, which made the server and does not know it yet."""
    place.initialised("alice")
    outside.stall()
    driver = place.start("up", "alice")
    until(outside.servers, "the server")
    return driver


@pytest.mark.parametrize("victims", ["driver", "engine", "driver and engine"])
def test_kill_9_in_the_middle_of_up_is_mended_by_the_next(
    own_plugins: Workplace, place: Workplace, outside: Outside, tmp_path: Path, victims: str
) -> None:
    given = own_plugins.given | {"PULUMI_HOME": str(home_whose_plugins_linger(tmp_path))}
    driver = begin_up(replace(own_plugins, given=given), outside)
    engine = until(lambda: own_plugins.engine_of("alice"), "the engine")
    killed = [p for p in (psutil.Process(driver.pid), engine) if _role(p) in victims]
    for process in killed:
        process.kill()
    said = ended(driver)
    if victims == "engine":
        assert said.returncode == 1
        what, _ = said.stderr.splitlines()
        assert what == "error: the engine was ended by SIGKILL"
        assert own_plugins.processes() == []
    stacks = place.stacks()
    result = stacks.up("alice")
    if "engine" in victims:
        assert "lifted the lock of an engine whose process is dead" in result.notes
        assert any("adopted server" in note for note in result.notes)
    check_whole(place, stacks, outside)


def home_whose_plugins_linger(folder: Path) -> Path:
    """A PULUMI_HOME whose hcloud plugin has a child that ends neither with it nor with the engine,
    as an official plugin may after a kill."""
    hcloud = next(path for path in install(folder) if path.name == "pulumi-resource-hcloud")
    shim = hcloud.read_text()
    hcloud.write_text(shim.replace("PYTHONPATH=", "sleep 300 >/dev/null 2>&1 &\nPYTHONPATH=", 1))
    return folder


def _role(process: psutil.Process) -> str:
    return "engine" if process.name() == "pulumi" else "driver"


def test_ctrl_c_and_sigterm_end_the_command_soon_and_the_next_up_goes_on(
    own_plugins: Workplace, place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice", "bob")
    outside.slow_actions(12)  # both are still at it when both have begun
    drivers = {slug: own_plugins.start("up", slug) for slug in ("alice", "bob")}
    until(lambda: len(outside.servers()) == 2, "both servers")
    began = time.monotonic()
    drivers["alice"].send_signal(signal.SIGINT)
    send_aside(drivers["bob"].pid, signal.SIGTERM)
    for driver in drivers.values():
        said = ended(driver, ENDS_S)
        assert said.returncode == 130
        assert said.stderr.splitlines() == ["interrupted; the next operation goes on from there"]
    assert time.monotonic() - began < ENDS_S
    assert own_plugins.processes() == []
    outside.slow_actions(0)
    for slug in drivers:
        stacks.up(slug)
        check_whole(place, stacks, outside, slug)


def test_init_that_was_killed_half_way_can_be_done_again(
    place: Workplace, outside: Outside
) -> None:
    driver = place.start("init", "alice", "--without-install")
    until(place.state_file("alice").exists, "the stack")
    os.kill(driver.pid, signal.SIGKILL)
    ended(driver)
    assert "clawdet:secrets" not in text_of(place.settings_file("alice"))
    stacks = place.initialised("alice")
    stacks.up("alice")
    check_whole(place, stacks, outside)


def test_state_files_that_a_killed_engine_left_half_written_are_mended(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    state = place.state_file("alice")
    locks = place.directory / ".clawdet/state/.pulumi/locks/organization/clawdet/alice"
    attributes = state.with_name("alice.json.attrs")
    rests = [locks / "5b31.json.attrs", locks / "5b31.json.18a.tmp", locks / "5b31.json"]
    for file in (attributes, *rests):
        file.write_text("")
    with pytest.raises(OperationFailed, match="state of alice can't be read") as stop:
        stacks.preview("alice")
    assert "python -m stacks cancel alice" in stop.value.remedy
    stacks.up("alice")  # after a failure every operation mends
    check_whole(place, stacks, outside)
    attributes.write_text("")
    stacks.cancel("alice")
    assert not stacks.preview("alice").changed


def text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def test_a_server_whose_creation_was_not_answered_is_adopted(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", kind="lost_response")
    with pytest.raises(OperationFailed, match=r"server: .*no answer"):
        stacks.up("alice")
    server_id = outside.server("alice").id
    notes = stacks.up("alice").notes
    assert f"adopted server {server_id}, made by an operation that did not finish" in notes
    assert outside.server("alice").id == server_id
    check_whole(place, stacks, outside)


def test_destroy_finds_what_a_lost_answer_left(place: Workplace, outside: Outside) -> None:
    stacks = place.initialised("alice")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", kind="lost_response")
    with pytest.raises(OperationFailed, match="no answer"):
        stacks.up("alice")
    assert outside.servers()
    stacks.destroy("alice")
    assert outside.is_empty()
    stacks.remove("alice")


def test_a_record_and_a_certificate_whose_creation_was_not_answered(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    lost = {"vendor": "cloudflare", "method": "POST", "kind": "lost_response"}
    outside.fault(path="/certificates$", **lost)
    with pytest.raises(OperationFailed, match=r"certificate: .*no answer"):
        stacks.up("alice")
    (stray,) = outside.certificates()
    outside.fault(path="/dns_records$", **lost)
    with pytest.raises(OperationFailed, match=r"record: .*no answer"):
        stacks.up("alice")
    assert stray not in outside.certificates()  # its key was never kept: it is of no use
    record_id = outside.record("alice").id
    notes = stacks.up("alice").notes
    assert notes == (f"adopted record {record_id}, made by an operation that did not finish",)
    assert outside.record("alice").id == record_id
    check_whole(place, stacks, outside)


def test_a_server_made_anew_whose_creation_was_not_answered_is_adopted(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    outside.delete_server("alice")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", kind="lost_response")
    with pytest.raises(OperationFailed, match="no answer"):
        stacks.up("alice", refresh=True, approve_server_change=True)
    stacks.up("alice", refresh=True, approve_server_change=True)
    check_whole(place, stacks, outside)


@pytest.mark.parametrize("trouble", [{"kind": "lost_response"}, {"status": 503}])
def test_a_replacement_that_ends_half_way_is_mended(
    place: Workplace, outside: Outside, trouble: dict[str, Any]
) -> None:
    stacks = place.made("alice")
    set_in_settings_file(place, "alice", "location", "fsn1")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", **trouble)
    with pytest.raises(OperationFailed):  # by now the old server is gone
        stacks.up("alice", approve_server_change=True)
    stacks.up("alice", approve_server_change=True)
    check_whole(place, stacks, outside)


def test_of_two_servers_with_the_same_label_a_person_must_choose(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.made("alice")
    first = outside.server("alice")
    outside.add_server("twin", labels=first.labels)
    with pytest.raises(OperationFailed, match="alice should have one server; also there: ") as stop:
        stacks.cancel("alice")
    assert "delete the wrong ones" in stop.value.remedy
    assert {server.name for server in outside.servers()} == {"alice", "twin"}


def test_a_busy_or_slow_cloud_only_costs_time(place: Workplace, outside: Outside) -> None:
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=429)
    outside.fault(vendor="cloudflare", method="POST", path="/dns_records$", status=429)
    outside.slow_actions(1)
    check_whole(place, place.made("alice"), outside)


def test_a_silent_cloud_is_given_up_and_the_next_up_goes_on(
    place: Workplace, outside: Outside
) -> None:
    place.initialised("alice")
    hasty = place.stacks(clawdet_cloud_timeout_s=0.2)
    outside.fault(vendor="cloudflare", kind="timeout", delay_s=1, times=20)
    with pytest.raises(OperationFailed, match=r"Cloudflare can't be reached: .*timed out"):
        hasty.up("alice")
    assert outside.servers() == []
    outside.mend()
    stacks = place.stacks()
    stacks.up("alice")
    check_whole(place, stacks, outside)


def test_a_location_that_runs_out_gives_way_to_the_next(place: Workplace, outside: Outside) -> None:
    stacks = place.initialised("alice")
    outside.sell_out("hel1")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=412)
    result = stacks.up("alice")  # hel1 is known to be sold out, fsn1 turns out to be
    assert result.notes == ("fsn1 ran out of stock",)
    assert result.outputs["location"] == "nbg1"
    assert location_of(outside.server("alice")) == "nbg1"
    check_whole(place, stacks, outside)


def test_no_stock_anywhere_is_said_and_the_next_up_works(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    outside.sell_out("hel1", "fsn1", "nbg1")
    with pytest.raises(NoCapacity, match="no cpx22 in stock in hel1, fsn1, nbg1") as stop:
        stacks.up("alice")
    assert "CLAWDET_LOCATIONS" in stop.value.remedy
    outside.reset_stock()
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=412, times=3)
    with pytest.raises(NoCapacity, match="no location had a server: hel1 ran out"):
        stacks.up("alice")
    assert outside.servers() == []
    stacks.up("alice")
    check_whole(place, stacks, outside)
