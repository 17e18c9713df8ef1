import pytest
from hcloud import APIException
from hcloud.images import Image
from hcloud.server_types import ServerType

from sandbox.clouds.world import World
from tests.sandbox.clouds.conftest import Admin
from tests.sandbox.clouds.hetzner_steps import UBUNTU, Loose, make_server, order_server


def test_power_actions_switch_the_machine(client: Loose, world: World) -> None:
    server = make_server(client)
    steps = [
        (server.power_off, "stop_server", "off"),
        (server.power_on, "start_server", "running"),
        (server.shutdown, "shutdown_server", "off"),
        (server.reboot, "reboot_server", "off"),
        (server.reset, "reset_server", "running"),
        (server.reboot, "reboot_server", "running"),
    ]
    for ask, command, state in steps:
        action = ask()
        assert (action.command, action.resources) == (
            command,
            [{"id": server.id, "type": "server"}],
        )
        action.wait_until_finished()
        assert client.servers.get_by_id(server.id).status == state
        assert world.machines.state(server.id) == state


def test_power_actions_may_be_repeated(client: Loose) -> None:
    server = make_server(client)
    for ask in (server.power_on, server.power_off, server.power_off):
        ask().wait_until_finished()
    assert client.servers.get_by_id(server.id).status == "off"


def test_while_an_action_runs_the_server_is_locked(client: Loose, admin: Admin) -> None:
    server = make_server(client)
    admin("PUT", "/hetzner/action-seconds", {"seconds": 30})
    action = server.power_off()

    busy = client.servers.get_by_id(server.id)
    assert (busy.status, busy.locked) == ("stopping", True)
    for ask in (server.power_on, server.delete, server.enable_backup):
        with pytest.raises(APIException, match="server is locked") as error:
            ask()
        assert error.value.code == "locked"
    action.reload()
    assert action.status == "running" and 0 <= action.progress < 100 and action.finished is None


def test_a_server_shows_what_is_being_done_with_it(client: Loose, admin: Admin) -> None:
    admin("PUT", "/hetzner/action-seconds", {"seconds": 30})
    assert order_server(client).server.status == "initializing"


def test_a_slow_delete_shows_until_it_is_done(client: Loose, admin: Admin) -> None:
    server = make_server(client)
    admin("PUT", "/hetzner/action-seconds", {"seconds": 0.3})
    action = server.delete()
    assert client.servers.get_by_id(server.id).status == "deleting"
    action.wait_until_finished()
    assert client.servers.get_all() == []
    assert action.finished is not None


def test_a_finished_action_has_times_and_full_progress(client: Loose) -> None:
    action = make_server(client).power_off()
    action.wait_until_finished()
    assert (action.status, action.progress, action.error) == ("success", 100, None)
    assert action.started is not None and action.finished is not None
    assert action.started <= action.finished


def test_actions_are_listed_per_server(client: Loose) -> None:
    alice, bob = make_server(client, "alice"), make_server(client, "bob")
    bob.power_off().wait_until_finished()
    commands = [action.command for action in bob.get_actions()]
    assert commands == ["create_server", "start_server", "stop_server"]
    assert len(alice.get_actions()) == 2
    newest = bob.get_actions(sort=["id:desc"])[0]
    assert newest.command == "stop_server"
    assert client.servers.actions.get_by_id(newest.id).command == "stop_server"
    assert bob.get_actions(status=["running"]) == []
    assert len(client.servers.actions.get_all()) == 5


def test_a_resize_keeps_the_server_off(client: Loose) -> None:
    server = make_server(client)
    server.power_off().wait_until_finished()
    server.change_type(ServerType(name="cpx32"), upgrade_disk=True).wait_until_finished()
    server.reload()
    assert (server.server_type.name, server.status, server.primary_disk_size) == (
        "cpx32",
        "off",
        160,
    )


def test_without_a_larger_disk_a_resize_can_be_taken_back(client: Loose) -> None:
    server = make_server(client, start_after_create=False)
    server.change_type(ServerType(name="cpx32"), upgrade_disk=False).wait_until_finished()
    server.change_type(ServerType(name="cpx22"), upgrade_disk=False).wait_until_finished()
    server.reload()
    assert (server.server_type.name, server.primary_disk_size) == ("cpx22", 80)


def test_a_running_server_is_not_resized(client: Loose) -> None:
    with pytest.raises(APIException) as error:
        make_server(client).change_type(ServerType(name="cpx32"), upgrade_disk=True)
    assert error.value.code == "server_not_stopped"


@pytest.mark.parametrize("name", ["cpx22", "cpx12"])
def test_a_server_type_with_the_same_size_or_a_smaller_disk_is_refused(
    client: Loose, name: str
) -> None:
    server = make_server(client, start_after_create=False)
    with pytest.raises(APIException) as error:
        server.change_type(ServerType(name=name), upgrade_disk=True)
    assert error.value.code == "invalid_server_type"


def test_a_resize_needs_room_in_the_location(client: Loose, admin: Admin) -> None:
    server = make_server(client, start_after_create=False)
    stock = {"server_type": "cpx32", "location": server.location.name, "available": False}
    admin("PUT", "/hetzner/stock", stock)
    with pytest.raises(APIException, match="error during placement") as error:
        server.change_type(ServerType(name="cpx32"), upgrade_disk=True)
    assert error.value.code == "resource_unavailable"
    assert not client.servers.get_by_id(server.id).locked


def test_a_rebuilt_server_runs_the_new_image(client: Loose) -> None:
    server = make_server(client)
    server.power_off().wait_until_finished()
    server.rebuild(Image(name="debian-12")).action.wait_until_finished()
    server.reload()
    assert (server.image.name, server.status) == ("debian-12", "running")


def test_a_rebuild_with_other_user_data_keeps_the_address(client: Loose) -> None:
    server = make_server(client, user_data="#cloud-config\n")
    rebuilt = server.rebuild(UBUNTU, user_data="#cloud-config\nhostname: bob\n")
    rebuilt.action.wait_until_finished()
    again = client.servers.get_by_id(server.id)
    assert (again.status, again.public_net.ipv4.ip) == ("running", server.public_net.ipv4.ip)


def test_a_protected_server_is_neither_deleted_nor_rebuilt(client: Loose) -> None:
    server = make_server(client)
    server.change_protection(delete=True, rebuild=True).wait_until_finished()
    for ask in (server.delete, lambda: server.rebuild(UBUNTU)):
        with pytest.raises(APIException) as error:
            ask()
        assert error.value.code == "protected"
    server.change_protection(delete=False, rebuild=False).wait_until_finished()
    server.delete().wait_until_finished()


def test_protection_of_one_kind_alone_is_refused(client: Loose) -> None:
    with pytest.raises(APIException) as error:
        make_server(client).change_protection(delete=True)
    assert error.value.code == "invalid_input"


def test_backups_can_be_allowed_made_and_given_up(client: Loose) -> None:
    server = make_server(client)
    with pytest.raises(APIException, match="backups are not enabled"):
        server.create_image(type="backup")
    server.enable_backup().wait_until_finished()
    assert client.servers.get_by_id(server.id).backup_window
    server.create_image(type="backup").action.wait_until_finished()
    backups = client.images.get_all(type=["backup"], bound_to=[str(server.id)])
    assert len(backups) == 1 and backups[0].bound_to.id == server.id

    server.disable_backup().wait_until_finished()

    assert client.servers.get_by_id(server.id).backup_window is None
    assert client.images.get_all(type=["backup"]) == []


def test_reverse_dns_can_be_set_and_reset(client: Loose) -> None:
    server = make_server(client)
    ip = server.public_net.ipv4.ip
    default = server.public_net.ipv4.dns_ptr
    server.change_dns_ptr(ip, "alice.clawdet.com").wait_until_finished()
    assert client.servers.get_by_id(server.id).public_net.ipv4.dns_ptr == "alice.clawdet.com"
    server.change_dns_ptr(ip, None).wait_until_finished()
    assert client.servers.get_by_id(server.id).public_net.ipv4.dns_ptr == default


def test_reverse_dns_works_for_an_address_of_the_ipv6_network(client: Loose) -> None:
    server = make_server(client)
    ip = f"{server.public_net.ipv6.network}1"
    server.change_dns_ptr(ip, "alice.clawdet.com").wait_until_finished()
    server.reload()
    assert server.public_net.ipv6.dns_ptr == [{"ip": ip, "dns_ptr": "alice.clawdet.com"}]


@pytest.mark.parametrize("ip", ["203.0.113.7", "not an address"])
def test_reverse_dns_of_a_foreign_address_is_refused(client: Loose, ip: str) -> None:
    with pytest.raises(APIException) as error:
        make_server(client).change_dns_ptr(ip, "alice.clawdet.com")
    assert error.value.code == "invalid_input"
