"""The whole install on a real machine, and what can go wrong in it."""

import copy
import http.client
import json
import secrets
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.downloads import artifacts
from sandbox.machines import requirements
from tests.cloud_init.documents import Document, make_document, make_origin
from tests.cloud_init.machine import GUESTS_URL, Done, Machine, boot
from tests.cloud_init.test_scripts import NAMES

PROBLEMS = requirements.problems()
pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(bool(PROBLEMS), reason="; ".join(PROBLEMS)),
    pytest.mark.timeout(600),
]
OPENCLAW_JSON = "/var/lib/openclaw/.openclaw/openclaw.json"


class Server:
    """An installed machine and the document that it was installed from."""

    def __init__(self, machine: Machine, document: Document) -> None:
        self.machine = machine
        self.document = document
        self.first_run: dict[str, Done] = {}

    def step(self, name: str, document: Any = None, timeout_s: int = 300) -> Done:
        text = json.dumps(document or self.document)
        command = f"timeout -k 5 {timeout_s} bash /opt/clawdet/install/{name}"
        return self.machine.run(command, text, timeout_s=timeout_s + 30)

    def changed(self, path: str, value: Any) -> Document:
        """The document with the value at a dotted path replaced."""
        document = copy.deepcopy(self.document)
        *parents, last = path.split(".")
        place = document
        for part in parents:
            place = place[part]
        place[last] = value
        return document

    def started_at(self) -> dict[str, str]:
        """When each service was last started."""
        return {
            service: self.machine.run(
                f"systemctl show --value --property ActiveEnterTimestampMonotonic {service}"
            ).out
            for service in ("openclaw-gateway", "caddy")
        }

    def chat(self, message: str) -> str:
        """One turn with the assistant, from outside, over TLS."""
        body = {"model": "openclaw", "messages": [{"role": "user", "content": message}]}
        headers = {
            "Host": self.document["hostname"],
            "Authorization": f"Bearer {self.document['gateway_token']}",
            "Content-Type": "application/json",
        }
        connection = _Origin(self.machine.address, self.document["hostname"])
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200, answer
        content: str = answer["choices"][0]["message"]["content"]
        return content


class _Origin(http.client.HTTPSConnection):
    """HTTPS to an address under a name, whoever signed the certificate."""

    def __init__(self, address: str, hostname: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(address, timeout=60, context=context)
        self._name, self._tls = hostname, context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("machine")
    with boot(directory) as (machine, credentials):
        release = json.loads(
            artifacts.write_release(directory, f"{GUESTS_URL}/downloads").read_text()
        )
        document = make_document(
            release=release,
            anthropic_api_key=credentials.anthropic_key,
            model_base_url=f"{GUESTS_URL}/anthropic",
        )
        server = Server(machine, document)
        machine.copy_install_files()
        for name in NAMES:
            server.first_run[name] = server.step(name)
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_a_step_succeeds_on_a_new_machine(server: Server, name: str) -> None:
    done = server.first_run[name]
    assert (done.status, done.err) == (0, "")


def test_the_assistant_answers_from_outside(server: Server) -> None:
    assert "ping-7f3a" in server.chat("ping-7f3a")


@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_is_run_again_changes_nothing(server: Server, name: str) -> None:
    before = server.started_at()
    began = time.monotonic()
    done = server.step(name)
    assert (done.status, done.err) == (0, "")
    for word in ("wrote", "installed", "linked", "added", "restarted", "started"):
        assert not any(line.startswith(f"{word} ") for line in done.out.splitlines()), done.out
    assert server.started_at() == before
    assert time.monotonic() - began < 20


def test_no_secret_is_in_any_log_or_readable_by_others(server: Server) -> None:
    for name in ("gateway_token", "anthropic_api_key"):
        secret = server.document[name]
        assert all(secret not in done.out for done in server.first_run.values())
        search = (
            f"journalctl --no-pager | grep -c {secret[:20]}; grep -rl {secret} /tmp /var /opt /home"
        )
        found = server.machine.run(search).out.split()
        assert found == ["0"]
        world_readable = f"find /etc /run -xdev -type f -perm /o+r -exec grep -l {secret} {{}} +"
        assert server.machine.run(world_readable).out == ""


@pytest.mark.parametrize(
    ("name", "path", "value", "line"),
    [
        (
            "20-node.sh",
            "release.node.checksum",
            "sha256:" + "0" * 64,
            "has the wrong sha256 checksum",
        ),
        (
            "20-node.sh",
            "release.node",
            {
                "version": "22.99.0",
                "url": f"{GUESTS_URL}/downloads/node-v22.99.0.tar.gz",
                "checksum": "sha256:" + "0" * 64,
            },
            "could not download",
        ),
        (
            "30-openclaw.sh",
            "release.openclaw",
            {"version": "2026.2.19-2", "package": "2026.2.19-2"},
            "install/openclaw/2026.2.19-2 is not among the install files",
        ),
        (
            "30-openclaw.sh",
            "release.openclaw.version",
            "2026.2.19-2",
            "wants OpenClaw 2026.2.19-2, but install/openclaw/2026.2.19 holds 2026.2.19",
        ),
        ("40-caddy.sh", "release.caddy.version", "2.10.3", "calls itself v2.10.2"),
        ("50-configure.sh", "hostname", "bob.clawdet.com", "certificate is not for bob"),
        ("50-configure.sh", "slug", "", "parameter slug is malformed"),
    ],
)
def test_a_step_that_cannot_do_its_work_says_so_in_one_line_and_leaves_all_running(
    server: Server, name: str, path: str, value: Any, line: str
) -> None:
    before = server.started_at()
    done = server.step(name, server.changed(path, value))
    assert done.status != 0
    assert done.err.startswith(f"{name.removesuffix('.sh')}: ")
    assert done.err.count("\n") == 1
    assert line in done.err
    assert server.started_at() == before
    assert server.step("70-verify.sh").status == 0
    assert server.machine.run("ls -d /opt/.[a-z]* /run/clawdet-configure*").out == ""


def test_a_version_that_the_registry_lacks_is_named(server: Server) -> None:
    package = {"name": "nope", "dependencies": {"openclaw": "2026.2.19-2"}}
    entry = {"version": "2026.2.19-2", "integrity": f"sha512-{'A' * 86}=="}
    lock = {
        "name": "nope",
        "lockfileVersion": 3,
        "packages": {"": package, "node_modules/openclaw": entry},
    }
    for name, content in (("package.json", package), ("package-lock.json", lock)):
        path = f"/opt/clawdet/install/openclaw/nope/{name}"
        server.machine.run(f"mkdir -p $(dirname {path}) && cat >{path}", json.dumps(content))
    release = {"version": "2026.2.19-2", "package": "nope"}
    done = server.step("30-openclaw.sh", server.changed("release.openclaw", release))
    assert done.status != 0
    assert "the npm registry lacks a package of OpenClaw 2026.2.19-2: " in done.err


def test_only_what_changed_is_restarted(server: Server) -> None:
    before = server.started_at()
    certificate, key = make_origin(server.document["hostname"])
    server.document |= {"origin_certificate": certificate, "origin_key": key}
    assert server.step("50-configure.sh").status == 0
    after = server.started_at()
    assert after["caddy"] != before["caddy"]
    assert after["openclaw-gateway"] == before["openclaw-gateway"]


def test_a_new_token_replaces_the_old_one(server: Server) -> None:
    before, old = server.started_at(), copy.deepcopy(server.document)
    server.document["gateway_token"] = secrets.token_hex(24)
    for name in ("50-configure.sh", "60-start.sh", "70-verify.sh"):
        done = server.step(name)
        assert (done.status, done.err) == (0, "")
    assert server.started_at()["caddy"] == before["caddy"]
    refused = server.step("70-verify.sh", old)
    assert refused.status != 0
    assert "gateway: does not accept the token" in refused.err


def test_what_the_customer_set_in_openclaw_stays(server: Server) -> None:
    program = (
        f"import json; p = '{OPENCLAW_JSON}'; d = json.load(open(p)); d['gateway']['auth'] = {{}};"
        " d['agents']['defaults']['model']['primary'] = 'anthropic/claude-opus-4-5';"
        " json.dump(d, open(p, 'w'))"
    )
    server.machine.run(f'python3 -c "{program}"')
    assert server.step("50-configure.sh").status == 0
    config = json.loads(server.machine.run(f"cat {OPENCLAW_JSON}").out)
    assert config["agents"]["defaults"]["model"]["primary"] == "anthropic/claude-opus-4-5"
    assert config["gateway"]["auth"] == {"mode": "token"}
    assert server.step("60-start.sh").status == 0


def test_a_configuration_that_openclaw_refuses_does_not_reach_the_gateway(server: Server) -> None:
    server.machine.run(
        f"cp -p {OPENCLAW_JSON} /var/tmp/ && echo '{{\"nonsense\": 1}}' >{OPENCLAW_JSON}"
    )
    done = server.step("50-configure.sh")
    server.machine.run(f"cp -p /var/tmp/openclaw.json {OPENCLAW_JSON}")
    assert done.status != 0
    assert 'OpenClaw refuses it: - <root>: Unrecognized key: "nonsense"' in done.err


def test_an_install_that_was_killed_can_be_run_again(server: Server) -> None:
    directory = server.machine.run("readlink -f /opt/openclaw").out.strip()
    server.machine.run(f"mv {directory} /opt/kept")
    killed = server.machine.run(
        "timeout -s KILL 3 bash /opt/clawdet/install/30-openclaw.sh", json.dumps(server.document)
    )
    assert killed.status != 0
    assert "is already installed" not in killed.out
    server.machine.run("while pgrep --full '[n]pm ci' >/dev/null; do sleep 0.2; done", timeout_s=60)
    done = server.step("30-openclaw.sh")
    assert (done.status, done.err) == (0, "")
    assert "installed OpenClaw 2026.2.19" in done.out
    assert server.machine.run("ls -d /opt/.[a-z]*").out == ""
    assert server.step("70-verify.sh").status == 0


def test_the_gateway_comes_back_when_it_is_killed(server: Server) -> None:
    pid = server.machine.run("systemctl show --value --property MainPID openclaw-gateway").out
    server.machine.run(f"kill -9 {pid}")
    assert server.step("60-start.sh").status == 0
    assert server.machine.run("systemctl show --value -p MainPID openclaw-gateway").out != pid


def test_everything_comes_back_after_a_reboot(server: Server) -> None:
    server.machine.reboot()
    assert server.step("60-start.sh").status == 0
    assert server.step("70-verify.sh").status == 0
    assert server.machine.run("systemctl --failed --quiet").out == ""
    assert "ping-91bc" in server.chat("ping-91bc")
