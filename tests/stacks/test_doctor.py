"""`python -m stacks doctor` says what a machine has, what it lacks and what to do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.stacks.bare_machine import CLOSED_PORT, Machine, versions

HETZNER_TOKEN = "h" * 64
CLOUDFLARE_TOKEN = "c" * 40
ZONE_ID = "0123456789abcdef" * 2
SECRETS = (HETZNER_TOKEN, CLOUDFLARE_TOKEN, "the-model-key", "the-passphrase")


class _Clouds(BaseHTTPRequestHandler):
    """Answers 200 to the right token for the right path, else the vendors' 401."""

    right = {
        "/v1/locations": HETZNER_TOKEN,
        f"/client/v4/zones/{ZONE_ID}": CLOUDFLARE_TOKEN,
    }

    def do_GET(self) -> None:
        expected = f"Bearer {self.right.get(self.path)}"
        self.send_response(200 if self.headers["Authorization"] == expected else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def clouds() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Clouds) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def machine(tmp_path: Path, clouds: str) -> Machine:
    """A machine with everything a stack needs, pointed at `clouds`."""
    machine = Machine(tmp_path / "machine")
    machine.add_pulumi()
    machine.env |= {
        "HETZNER_ENDPOINT": f"{clouds}/v1",
        "HETZNER_API_TOKEN": HETZNER_TOKEN,
        "CLOUDFLARE_BASE_URL": f"{clouds}/client/v4/",
        "CLOUDFLARE_API_TOKEN": CLOUDFLARE_TOKEN,
        "CLOUDFLARE_ZONE_ID": ZONE_ID,
        "ANTHROPIC_API_KEY": "the-model-key",
        "PULUMI_CONFIG_PASSPHRASE": "the-passphrase",
    }
    assert machine.run("setup", "--fallback", machine.stand_ins()).returncode == 0
    return machine


def findings(machine: Machine, **env: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = machine.run("doctor", "--json", **env)
    return done.returncode, {found["check"]: found for found in json.loads(done.stdout)}


def test_nothing_fails_where_all_is_there(machine: Machine) -> None:
    code, found = findings(machine)
    assert code == 0, found
    for check in ("engine", "language host", "state backend", "Hetzner API", "Cloudflare API"):
        assert found[check]["status"] == "ok", found[check]
    assert f"3.253.0, path, {machine.bin}/pulumi" in found["engine"]["detail"]
    for name, version in versions().items():
        assert found[f"plugin {name}"]["detail"] == f"{version}, stand-in"


def test_whatever_is_not_ok_comes_with_a_remedy(tmp_path: Path) -> None:
    code, found = findings(Machine(tmp_path / "bare"))
    assert code == 1
    wanting = [finding for finding in found.values() if finding["status"] != "ok"]
    assert len(wanting) > 8
    assert [finding for finding in wanting if not finding["remedy"]] == []


def test_a_machine_without_an_engine_is_sent_to_make_setup(tmp_path: Path) -> None:
    _, found = findings(Machine(tmp_path / "bare"))
    assert found["engine"]["status"] == "fail"
    assert "make setup" in found["engine"]["remedy"]
    assert found["plugin hcloud"]["status"] == "fail"


def test_an_engine_that_is_too_old_is_told_by_its_version(machine: Machine) -> None:
    machine.add_pulumi("v3.100.0")
    code, found = findings(machine)
    assert code == 1
    assert f"{machine.bin}/pulumi is 3.100.0" in found["engine"]["detail"]


@pytest.mark.parametrize(
    ("variable", "check"),
    [("HETZNER_API_TOKEN", "Hetzner API"), ("CLOUDFLARE_API_TOKEN", "Cloudflare API")],
)
def test_a_wrong_token_is_refused(machine: Machine, variable: str, check: str) -> None:
    code, found = findings(machine, **{variable: "x" * len(machine.env[variable])})
    assert code == 1
    assert "refuses the token (HTTP 401)" in found[check]["detail"]
    assert found[variable]["status"] == "ok"


def test_a_token_cut_short_is_told_by_its_length(machine: Machine) -> None:
    _, found = findings(machine, HETZNER_API_TOKEN=HETZNER_TOKEN[:-1])
    assert found["HETZNER_API_TOKEN"]["status"] == "fail"
    assert "63 characters long instead of 64" in found["HETZNER_API_TOKEN"]["detail"]


def test_an_endpoint_where_nobody_listens_fails(machine: Machine) -> None:
    code, found = findings(machine, HETZNER_ENDPOINT=f"http://127.0.0.1:{CLOSED_PORT}/v1")
    assert code == 1
    assert found["Hetzner API"]["status"] == "fail"
    assert "refused" in found["Hetzner API"]["detail"].lower()


@pytest.mark.parametrize("name", ["HETZNER_API_TOKEN", "PULUMI_CONFIG_PASSPHRASE"])
def test_a_credential_that_is_not_set_is_named(machine: Machine, name: str) -> None:
    code, found = findings(machine, **{name: ""})
    assert code == 1
    assert (found[name]["status"], found[name]["detail"]) == ("fail", "not set")


def test_stand_ins_are_a_warning_with_real_endpoints(machine: Machine) -> None:
    _, found = findings(machine, HETZNER_ENDPOINT="https://api.example.invalid/v1")
    assert found["plugin hcloud"]["status"] == "warn"


def test_a_state_backend_that_cannot_be_written_fails(machine: Machine) -> None:
    in_the_way = machine.root / "a-file"
    in_the_way.touch()
    _, found = findings(machine, PULUMI_BACKEND_URL=f"file://{in_the_way}/state")
    assert found["state backend"]["status"] == "fail"
    assert str(in_the_way) in found["state backend"]["detail"]


def test_a_remote_state_backend_is_asked_and_its_password_never_shown(machine: Machine) -> None:
    url = "postgres://clawdet:the-database-password@db.example.invalid/state"
    code, found = findings(machine, PULUMI_BACKEND_URL=url)
    assert code == 0  # this machine's pulumi says yes to everything
    assert found["state backend"]["detail"] == "postgres://db.example.invalid answers"
    machine.command("pulumi", "#!/bin/sh\n[ $1 = version ] && echo v3.253.0 || exit 1\n")
    code, found = findings(machine, PULUMI_BACKEND_URL=url)
    assert code == 1
    assert found["state backend"]["status"] == "fail"


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--json")])
def test_no_credential_is_ever_shown(machine: Machine, arguments: tuple[str, ...]) -> None:
    done = machine.run(*arguments)
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr


def test_a_pipe_gets_aligned_columns_without_colour_and_a_count(machine: Machine) -> None:
    done = machine.run("doctor", HETZNER_API_TOKEN="")
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    engine = next(line for line in lines if " engine " in line)
    missing = next(line for line in lines if "not set" in line)
    assert engine.index("3.253.0") == missing.index("not set")
    assert "1 failed" in lines[-1]


def test_looking_changes_nothing(machine: Machine) -> None:
    before = sorted(machine.root.rglob("*"))
    findings(machine)
    assert sorted(machine.root.rglob("*")) == before
