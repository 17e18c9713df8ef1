"""The requests that the official Pulumi plugin sends, as recorded, and what it needs back.

Recorded with hcloud 1.39.1 (Terraform provider 1.66.1). The plugin reads answers with hcloud-go,
whose structures want every field that is checked here.
"""

import time
from typing import Any

import pytest

from tests.sandbox.clouds.conftest import Admin
from tests.sandbox.clouds.hetzner_steps import new_public_key
from tests.sandbox.clouds.live import Answer, Live, call

SERVER_FIELDS = {
    "id", "name", "status", "created", "public_net", "private_net", "server_type", "datacenter",
    "location", "image", "iso", "rescue_enabled", "locked", "backup_window", "outgoing_traffic",
    "ingoing_traffic", "included_traffic", "protection", "labels", "volumes", "load_balancers",
    "primary_disk_size", "placement_group",
}  # fmt: skip
ACTION_FIELDS = {
    "id", "command", "status", "progress", "started", "finished", "resources", "error",
}  # fmt: skip


class Plugin:
    """Sends what the plugin sends, and waits for actions as it does."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def send(self, method: str, path: str, body: Any = None) -> Answer:
        token = self.live.world.credentials.hetzner_token
        return call(self.live.url, method, f"/v1{path}", body, token)

    def wait(self, *actions: dict[str, Any]) -> None:
        query = "&".join(f"id={action['id']}" for action in actions)
        for _ in range(500):
            answer = self.send("GET", f"/actions?{query}&sort=status&sort=id")
            states = {action["status"] for action in answer.json["actions"]}
            if states == {"success"}:
                return
            assert states <= {"running", "success"}
            time.sleep(0.01)
        raise AssertionError("the actions never finished")


@pytest.fixture
def plugin(live: Live) -> Plugin:
    return Plugin(live)


def test_up_refresh_and_destroy_of_a_key_and_a_server(plugin: Plugin) -> None:
    public_key = f"{new_public_key()} clawdet"
    body = {"name": "key-91e1033", "public_key": public_key, "labels": {}}
    made = plugin.send("POST", "/ssh_keys", body)
    assert made.status == 201
    key = made.json["ssh_key"]
    assert set(key) == {"id", "name", "fingerprint", "public_key", "labels", "created"}
    types = plugin.send("GET", "/server_types?name=cpx22").json["server_types"]
    assert [type_["name"] for type_ in types] == ["cpx22"]
    query = "architecture=x86&include_deprecated=true&name=ubuntu-24.04"
    images = plugin.send("GET", f"/images?{query}").json["images"]
    assert [image["id"] for image in images] == [161547269]
    assert plugin.send("GET", f"/ssh_keys/{key['id']}").json["ssh_key"] == key

    order = {
        "name": "vps-b19b1de",
        "server_type": "cpx22",
        "image": 161547269,
        "ssh_keys": [key["id"]],
        "location": "fsn1",
        "user_data": "#cloud-config\n",
    }
    created = plugin.send("POST", "/servers", order)
    assert created.status == 201
    assert set(created.json) == {"server", "action", "next_actions", "root_password"}
    assert set(created.json["action"]) == ACTION_FIELDS
    plugin.wait(created.json["action"], *created.json["next_actions"])
    server = plugin.send("GET", f"/servers/{created.json['server']['id']}").json["server"]
    assert set(server) == SERVER_FIELDS
    assert (server["status"], server["datacenter"]["name"]) == ("running", "fsn1-dc14")
    assert (server["backup_window"], server["iso"], server["labels"]) == (None, None, {})

    deleted = plugin.send("DELETE", f"/servers/{server['id']}")
    assert deleted.status == 200
    plugin.wait(deleted.json["action"])
    gone = plugin.send("DELETE", f"/ssh_keys/{key['id']}")
    assert (gone.status, gone.text) == (204, "")
    # A refresh of a server that is gone asks by id, then by name.
    assert plugin.send("GET", f"/servers/{server['id']}").status == 404
    assert plugin.send("GET", f"/servers?name={server['id']}").json["servers"] == []


def order_with_firewall(plugin: Plugin) -> tuple[int, dict[str, Any]]:
    rule = {"direction": "in", "source_ips": ["0.0.0.0/0", "::/0"], "protocol": "tcp",
            "port": "443"}  # fmt: skip
    made = plugin.send("POST", "/firewalls", {"name": "fw-erin", "rules": [rule]})
    assert made.status == 201
    plugin.wait(*made.json["actions"])
    id_ = made.json["firewall"]["id"]
    firewall = plugin.send("GET", f"/firewalls/{id_}").json["firewall"]
    assert firewall["rules"] == [rule | {"destination_ips": [], "description": None}]
    assert firewall["applied_to"] == []
    return id_, {
        "name": "erin",
        "server_type": "cpx22",
        "image": 161547269,
        "location": "fsn1",
        "user_data": "#cloud-config\n",
        "labels": {"instance": "erin"},
        "firewalls": [{"firewall": id_}],
        "public_net": {"enable_ipv4": True, "enable_ipv6": True},
    }


def test_the_recorded_life_of_a_server_with_a_firewall(plugin: Plugin, admin: Admin) -> None:
    firewall_id, order = order_with_firewall(plugin)
    stock = {"server_type": "cpx22", "location": "fsn1", "available": False}
    admin("PUT", "/hetzner/stock", stock)
    refused = plugin.send("POST", "/servers", order)
    assert (refused.status, refused.json["error"]["code"]) == (412, "resource_unavailable")
    admin("PUT", "/hetzner/stock", stock | {"available": True})
    limited = {"vendor": "hetzner", "method": "POST", "path": "^/v1/servers$", "status": 429}
    admin("POST", "/faults", limited)
    answer = plugin.send("POST", "/servers", order)
    assert (answer.status, answer.json["error"]["code"]) == (429, "rate_limit_exceeded")
    created = plugin.send("POST", "/servers", order).json
    plugin.wait(created["action"], *created["next_actions"])
    path = f"/servers/{created['server']['id']}"
    net = plugin.send("GET", path).json["server"]["public_net"]
    assert net["firewalls"] == [{"id": firewall_id, "status": "applied"}]

    # labels changed
    labels = {"instance": "erin", "release": "2"}
    assert plugin.send("PUT", path, {"labels": labels}).json["server"]["labels"] == labels

    # server type changed: the plugin switches the server off and leaves it off
    plugin.wait(plugin.send("POST", f"{path}/actions/poweroff").json["action"])
    change = {"server_type": "cpx32", "upgrade_disk": True}
    plugin.wait(plugin.send("POST", f"{path}/actions/change_type", change).json["action"])
    server = plugin.send("GET", path).json["server"]
    assert (server["server_type"]["name"], server["status"]) == ("cpx32", "off")

    # snapshot added
    body = {"type": "snapshot", "description": "golden"}
    taken = plugin.send("POST", f"{path}/actions/create_image", body)
    assert taken.status == 201
    plugin.wait(taken.json["action"])
    image = f"/images/{taken.json['image']['id']}"
    assert plugin.send("GET", image).json["image"]["status"] == "available"

    # destroy
    assert plugin.send("DELETE", image).status == 204
    plugin.wait(plugin.send("DELETE", path).json["action"])
    assert plugin.send("DELETE", f"/firewalls/{firewall_id}").status == 204


def test_reverse_dns_as_the_plugin_sets_it(plugin: Plugin) -> None:
    _, order = order_with_firewall(plugin)
    created = plugin.send("POST", "/servers", order).json
    plugin.wait(created["action"], *created["next_actions"])
    path = f"/servers/{created['server']['id']}"
    ip = created["server"]["public_net"]["ipv4"]["ip"]
    body = {"ip": ip, "dns_ptr": "erin.clawdet.com"}
    plugin.wait(plugin.send("POST", f"{path}/actions/change_dns_ptr", body).json["action"])
    net = plugin.send("GET", path).json["server"]["public_net"]
    assert net["ipv4"]["dns_ptr"] == "erin.clawdet.com"


def test_the_admin_log_holds_what_was_sent(plugin: Plugin, admin: Admin) -> None:
    _, order = order_with_firewall(plugin)
    plugin.send("POST", "/servers", order)
    logged = admin("GET", "/requests").json["requests"]
    assert [f"{r['method']} {r['path']}" for r in logged if r["method"] == "POST"] == [
        "POST /v1/firewalls",
        "POST /v1/servers",
    ]
    assert logged[-1]["body"] == order
