"""What a new process finds of what an earlier one did, ended in order or killed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.clouds import hetzner
from sandbox.clouds.world import Credentials
from tests.sandbox.clouds.conftest import Serve
from tests.sandbox.clouds.hetzner_steps import Loose, make_server, new_public_key, order_server
from tests.sandbox.clouds.live import Live, call, client_of, close_world, open_world

ROOT = Path(__file__).parents[3]


def slow(live: Live, seconds: float) -> None:
    answer = call(live.url, "PUT", "/admin/hetzner/action-seconds", {"seconds": seconds})
    assert answer.status == 200


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    def look(client: Loose) -> list[object]:
        server = client.servers.get_by_name("alice")
        lists = (
            client.ssh_keys, client.firewalls, client.primary_ips, client.servers.actions,
        )  # fmt: skip
        snapshots = client.images.get_all(type=["snapshot"])
        return [
            server.data_model.id,
            server.status,
            server.public_net.ipv4.ip,
            [entry.firewall.id for entry in server.public_net.firewalls],
            [image.id for image in snapshots],
            *[[thing.id for thing in part.get_all()] for part in lists],
        ]

    world = open_world(tmp_path)
    live = Live(world, {"/v1": hetzner.blueprint})
    client: Loose = client_of(live)
    key = client.ssh_keys.create("laptop", new_public_key())
    firewall = client.firewalls.create("web").firewall
    server = make_server(client, ssh_keys=[key], firewalls=[firewall])
    server.create_image(description="golden").action.wait_until_finished()
    before = look(client)
    live.close()
    close_world(world)

    world = open_world(tmp_path)
    live = Live(world, {"/v1": hetzner.blueprint})
    client = client_of(live)
    assert look(client) == before
    assert order_server(client, "bob").server.id > max(key.id, firewall.id, server.id)
    live.close()
    close_world(world)


def order(client: Loose, _: Loose) -> Loose:
    return order_server(client, "bob").next_actions[0]


def delete(_: Loose, server: Loose) -> Loose:
    return server.delete()


def power_off(_: Loose, server: Loose) -> Loose:
    return server.power_off()


def take_snapshot(_: Loose, server: Loose) -> Loose:
    return server.create_image(description="golden").action


def add_firewall(client: Loose, _: Loose) -> Loose:
    return client.firewalls.create("web").actions[0]


@pytest.mark.parametrize(
    ("ask", "names"),
    [
        (order, {"alice", "bob"}),
        (delete, set()),
        (power_off, {"alice"}),
        (take_snapshot, {"alice"}),
        (add_firewall, {"alice"}),
    ],
)
def test_what_was_running_is_finished_by_the_next_process(
    serve: Serve, ask: Callable[[Loose, Loose], Loose], names: set[str]
) -> None:
    first = serve({"/v1": hetzner.blueprint})
    client: Loose = client_of(first)
    server = make_server(client)
    slow(first, 60)
    action = ask(client, server)
    first.close()
    first.world.store.put("hetzner.setting", "action_seconds", {"value": 0})

    last: Loose = client_of(serve({"/v1": hetzner.blueprint}))

    last.actions.get_by_id(action.id).wait_until_finished(max_retries=300)
    assert {server.name for server in last.servers.get_all()} == names
    assert not any(server.locked for server in last.servers.get_all())
    assert last.servers.actions.get_all(status=["running"]) == []


def test_a_process_killed_in_the_middle_of_an_order_leaves_one_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.sandbox.clouds.live", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        token = Credentials.load_or_make(tmp_path / "credentials.json").hetzner_token
        call(url, "PUT", "/admin/hetzner/action-seconds", {"seconds": 60})
        body = {"name": "alice", "server_type": "cpx22", "image": "ubuntu-24.04"}
        answer = call(url, "POST", "/v1/servers", body, token)
        process.kill()
    assert answer.json["action"]["status"] == "running"

    world = open_world(tmp_path)
    world.store.put("hetzner.setting", "action_seconds", {"value": 0})
    live = Live(world, {"/v1": hetzner.blueprint})
    client: Loose = client_of(live)
    for action in (answer.json["action"], *answer.json["next_actions"]):
        client.actions.get_by_id(action["id"]).wait_until_finished(max_retries=300)
    assert [(s.name, s.status, s.locked) for s in client.servers.get_all()] == [
        ("alice", "running", False)
    ]
    live.close()
    close_world(world)
