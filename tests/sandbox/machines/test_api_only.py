from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.machines import MachineError, Machines, choose
from tests.sandbox.machines.conftest import SPEC, is_refused


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Machines]:
    driver = choose(tmp_path, "api-only", 1)
    yield driver
    driver.close()


def test_power_follows_what_it_is_told(servers: Machines) -> None:
    servers.create(SPEC)
    states = [servers.state(1)]
    for action in (servers.power_off, servers.power_on, servers.shutdown, servers.reboot):
        action(1)
        states.append(servers.state(1))
    assert states == ["running", "off", "running", "off", "running"]


def test_an_unknown_server_has_no_state_and_cannot_be_switched_on(servers: Machines) -> None:
    assert servers.state(7) is None
    with pytest.raises(MachineError, match="no machine 7"):
        servers.power_on(7)


def test_the_address_is_known_before_the_server_and_nobody_listens_there(
    servers: Machines,
) -> None:
    address = servers.address(1)
    servers.create(SPEC)
    assert servers.address(1) == address
    assert is_refused(address, 22)


def test_a_deleted_servers_address_is_not_handed_out_at_once(servers: Machines) -> None:
    servers.create(SPEC)
    address = servers.address(1)
    servers.delete(1)
    assert servers.state(1) is None
    assert servers.address(2) != address


def test_addresses_run_out_with_a_clear_message_and_come_back(servers: Machines) -> None:
    given = [servers.address(id_) for id_ in range(1, 254)]
    assert len(set(given)) == 253
    with pytest.raises(MachineError, match="delete servers"):
        servers.address(254)
    servers.delete(100)
    assert servers.address(254) == given[99]


def test_a_server_needs_an_image_that_exists(servers: Machines) -> None:
    with pytest.raises(MachineError, match="no image 'gold'"):
        servers.create(replace(SPEC, image="gold"))
    servers.create(SPEC)
    servers.snapshot(1, "gold")
    servers.create(replace(SPEC, id=2, image="gold"))
    servers.delete_image("gold")
    with pytest.raises(MachineError, match="no image 'gold'"):
        servers.rebuild(2, "gold")


def test_a_restart_remembers_servers_power_and_addresses(tmp_path: Path) -> None:
    first = choose(tmp_path, "api-only", 1)
    first.create(SPEC)
    first.create(replace(SPEC, id=2))
    first.power_off(2)
    addresses = [first.address(1), first.address(2)]
    first.close()

    second = choose(tmp_path, "api-only", 1)
    assert [second.state(1), second.state(2)] == ["running", "off"]
    assert [second.address(1), second.address(2)] == addresses
    second.close()


def test_a_directory_serves_one_driver_at_a_time(tmp_path: Path) -> None:
    first = choose(tmp_path, "api-only", 1)
    with pytest.raises(MachineError, match="another process runs the machines"):
        choose(tmp_path, "api-only", 1)
    first.close()
    choose(tmp_path, "api-only", 1).close()


def test_two_sandboxes_never_share_an_address(tmp_path: Path) -> None:
    drivers = [choose(tmp_path / name, "api-only", 1) for name in ("a", "b", "c")]
    assert len({driver.address(1) for driver in drivers}) == 3
    for driver in drivers:
        driver.close()


def test_a_copied_sandbox_gets_addresses_of_its_own(tmp_path: Path) -> None:
    original = choose(tmp_path / "original", "api-only", 1)
    original.create(SPEC)
    original.close()
    (tmp_path / "copy").mkdir()
    for file in (tmp_path / "original").iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    copy = choose(tmp_path / "copy", "api-only", 1)
    assert copy.state(1) == "running"
    assert copy.address(1) != choose_and_close(tmp_path / "original")
    copy.close()


def choose_and_close(directory: Path) -> str:
    driver = choose(directory, "api-only", 1)
    address = driver.address(1)
    driver.close()
    return address
