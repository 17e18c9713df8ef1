import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from sandbox import running
from sandbox.keeping import SandboxError
from sandbox.processes import Identity, run_module
from sandbox.running import Running
from sandbox.supervisor import Sandbox

ENDS_S = 90.0


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m sandbox …` as a person would."""
    line, environment = run_module("sandbox", *arguments)
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)


def start(directory: Path, **options: Any) -> Sandbox:
    return Sandbox.start(directory, machines="api-only", timeout_s=60, **options)


def eventually(check: Callable[[], bool], within_s: float = ENDS_S) -> None:
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def processes_of(found: Running) -> list[Identity]:
    return [found.supervisor, found.clouds.process, found.edge.process]


def nobody_listens(*ports: int) -> bool:
    def refused(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    return all(map(refused, ports))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox")) as running_one:
        yield running_one


def test_the_environment_reaches_every_company(sandbox: Sandbox) -> None:
    env = sandbox.environment()
    hetzner = httpx.get(
        f"{env['HETZNER_ENDPOINT']}/servers",
        headers={"Authorization": f"Bearer {env['HETZNER_API_TOKEN']}"},
    )
    assert hetzner.json()["servers"] == []
    cloudflare = httpx.get(
        f"{env['CLOUDFLARE_BASE_URL']}zones/{env['CLOUDFLARE_ZONE_ID']}",
        headers={"Authorization": f"Bearer {env['CLOUDFLARE_API_TOKEN']}"},
    )
    assert cloudflare.json()["result"]["name"] == env["CLAWDET_DOMAIN"] == "clawdet.com"
    anthropic = httpx.get(
        f"{env['ANTHROPIC_BASE_URL']}/v1/models",
        headers={"x-api-key": env["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01"},
    )
    assert anthropic.status_code == 200
    assert httpx.get(f"{sandbox.admin_url}/faults").json() == {"faults": []}
    host = env["CLAWDET_INSTANCE_URL"].removeprefix("http://").format(slug="alice")
    assert host == f"alice.clawdet.localhost:{sandbox.edge_port}"
    page = httpx.get(f"http://127.0.0.1:{sandbox.edge_port}/", headers={"Host": host})
    assert page.status_code == 530


def test_a_streamed_answer_is_told_while_it_comes(sandbox: Sandbox) -> None:
    env = sandbox.environment()
    asked = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 100_000,
        "stream": True,
        "messages": [{"role": "user", "content": "word " * 50_000}],
    }
    with httpx.stream(
        "POST",
        f"{env['ANTHROPIC_BASE_URL']}/v1/messages",
        json=asked,
        headers={"x-api-key": env["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01"},
    ) as answer:
        first = next(answer.iter_raw())
    assert first.startswith(b"event: message_start")
    assert b"message_stop" not in first


def test_env_prints_exports_that_a_shell_reads_back(sandbox: Sandbox) -> None:
    directory = str(sandbox.running.directory)
    printed = command("env", "--dir", directory)
    script = f"{printed.stdout}\n{shlex.quote(sys.executable)} -c {shlex.quote(DUMP)}"
    read = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True)
    expected = sandbox.environment()
    assert expected.items() <= json.loads(read.stdout).items()
    assert json.loads(command("env", "--dir", directory, "--json").stdout) == expected


DUMP = "import json, os; print(json.dumps(dict(os.environ)))"


def test_without_artifacts_no_release_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty-cache"))
    (tmp_path / "release.json").write_text("an earlier run's")
    with start(tmp_path) as sandbox:
        assert "CLAWDET_RELEASE" not in sandbox.environment()
        assert not (tmp_path / "release.json").exists()


def test_status_says_what_runs_and_how_to_use_it(sandbox: Sandbox) -> None:
    directory = str(sandbox.running.directory)
    said = command("status", "--dir", directory)
    assert said.returncode == 0
    for part in (sandbox.running.clouds_url, "api-only", directory, "python -m sandbox env"):
        assert part in said.stdout
    assert "\x1b" not in said.stdout
    assert Running.model_validate_json(
        command("status", "--dir", directory, "--json").stdout
    ) == running.find(sandbox.running.directory)


def test_a_second_one_in_the_same_directory_is_told_who_holds_it(sandbox: Sandbox) -> None:
    said = command("serve", "--dir", str(sandbox.running.directory), "--machines", "api-only")
    assert said.returncode == 1
    assert f"process {sandbox.running.supervisor.pid}" in said.stderr
    assert "sandbox stop" in said.stderr


@pytest.mark.parametrize("option", ["--clouds-port", "--edge-port"])
def test_a_port_in_use_ends_in_one_clear_error(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = command("serve", "--dir", str(tmp_path), "--machines", "api-only", option, str(port))
    assert said.returncode == 1
    assert said.stderr.startswith(f"error: Port {port} on 127.0.0.1 can't be used")
    assert option in said.stderr
    assert "Traceback" not in said.stderr
    assert json.loads(command("status", "--dir", str(tmp_path), "--json").stdout) is None


def test_a_directory_that_cannot_be_used_ends_in_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = command("serve", "--dir", str(tmp_path / "file"), "--machines", "api-only")
    assert said.returncode == 1
    assert said.stderr.startswith("error: ")
    assert str(tmp_path / "file") in said.stderr
    assert "Traceback" not in said.stderr


def test_setup_has_nothing_to_do_where_servers_exist_in_the_api_only() -> None:
    said = command("setup", "--machines", "api-only")
    assert said.returncode == 0
    assert "API only" in said.stdout


@pytest.mark.parametrize("name", ["env", "stop"])
def test_what_needs_a_running_sandbox_says_how_to_start_one(tmp_path: Path, name: str) -> None:
    said = command(name, "--dir", str(tmp_path))
    assert said.returncode == 1
    assert f"python -m sandbox serve --dir {tmp_path}" in said.stderr


def test_status_without_a_sandbox_has_its_own_exit_code(tmp_path: Path) -> None:
    assert command("status", "--dir", str(tmp_path)).returncode == 3


@pytest.mark.parametrize(
    "arguments", [("--edge-port", "x"), ("--action-seconds", "-1"), ("--machines", "vm")]
)
def test_an_option_that_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str]) -> None:
    assert command("serve", "--dir", str(tmp_path), *arguments).returncode == 2


def test_stop_ends_every_process_and_forgets_them(tmp_path: Path) -> None:
    with start(tmp_path) as sandbox:
        found = sandbox.running
        assert command("stop", "--dir", str(tmp_path)).returncode == 0
        assert not any(identity.alive() for identity in processes_of(found))
        assert nobody_listens(found.clouds.port, found.edge.port)
    assert running.find(tmp_path) is None
    assert json.loads((tmp_path / "processes.json").read_text()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as sandbox:
        found = sandbox.running
        os.kill(found.supervisor.pid, number)
        assert found.supervisor.wait(ENDS_S)
        assert not any(identity.alive() for identity in processes_of(found))


def test_credentials_ports_and_state_are_the_same_after_a_restart(tmp_path: Path) -> None:
    with start(tmp_path) as sandbox:
        before = sandbox.environment()
        records = f"{before['CLOUDFLARE_BASE_URL']}zones/{before['CLOUDFLARE_ZONE_ID']}/dns_records"
        headers = {"Authorization": f"Bearer {before['CLOUDFLARE_API_TOKEN']}"}
        record = {"type": "A", "name": "alice", "content": "127.0.0.1"}
        assert httpx.post(records, json=record, headers=headers).status_code == 200
    with start(tmp_path) as sandbox:
        assert sandbox.environment() == before
        assert len(httpx.get(records, headers=headers).json()["result"]) == 1


def test_kill_9_of_the_supervisor_leaves_no_child(tmp_path: Path) -> None:
    with start(tmp_path) as sandbox:
        found = sandbox.running
        family = psutil.Process(found.supervisor.pid).children(recursive=True)
        os.kill(found.supervisor.pid, signal.SIGKILL)
        gone, alive = psutil.wait_procs(family, ENDS_S)
        assert alive == []
        assert {process.pid for process in gone} >= {found.clouds.process.pid}
        assert nobody_listens(found.clouds.port, found.edge.port)
    assert running.find(tmp_path) is None


@pytest.fixture
def leftover() -> Iterator[Identity]:
    """A process that a killed supervisor could have left."""
    line = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(line, start_new_session=True) as process:
        yield Identity.of(process.pid)
        process.kill()


def test_what_a_killed_supervisor_left_is_ended_by_the_next_start(
    tmp_path: Path, leftover: Identity
) -> None:
    (tmp_path / "processes.json").write_text(json.dumps([leftover.model_dump()]))
    with start(tmp_path):
        assert not leftover.alive()


def test_a_process_that_only_has_the_number_of_a_left_one_is_not_touched(
    tmp_path: Path, leftover: Identity
) -> None:
    other = leftover.model_copy(update={"started": leftover.started - 3600})
    (tmp_path / "processes.json").write_text(json.dumps([other.model_dump()]))
    with start(tmp_path):
        assert leftover.alive()


def test_an_edge_that_dies_is_replaced_on_the_same_port(tmp_path: Path) -> None:
    with start(tmp_path) as sandbox:
        before = sandbox.running
        os.kill(before.edge.process.pid, signal.SIGKILL)

        def replaced() -> bool:
            found = running.find(tmp_path)
            return found is not None and found.edge.process != before.edge.process

        eventually(replaced)
        found = running.find(tmp_path)
        assert found is not None
        assert found.edge.port == before.edge.port
        url = f"http://127.0.0.1:{found.edge.port}/"
        answer = httpx.get(url, headers={"Host": "alice.clawdet.com"})
        assert answer.status_code == 530


def test_without_the_clouds_the_supervisor_gives_up_and_says_so(tmp_path: Path) -> None:
    with start(tmp_path) as sandbox:
        found = sandbox.running
        os.kill(found.clouds.process.pid, signal.SIGKILL)
        assert found.supervisor.wait(ENDS_S)
        assert not found.edge.process.alive()
    assert "The clouds process ended by itself" in (tmp_path / "serve.log").read_text()


def test_it_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time; from sandbox.supervisor import Sandbox;"
        f"s = Sandbox.start(pathlib.Path({str(tmp_path)!r}), machines='api-only');"
        "print(s.running.model_dump_json(), flush=True); time.sleep(600)"
    )
    _, environment = run_module("sandbox")
    line = [sys.executable, "-c", program]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        found = Running.model_validate_json(starter.stdout.readline())
        starter.kill()
    for identity in processes_of(found):
        assert identity.wait(ENDS_S)


def test_a_start_that_fails_tells_the_end_of_the_log(tmp_path: Path) -> None:
    with start(tmp_path), pytest.raises(SandboxError, match=r"A sandbox already runs in"):
        start(tmp_path)


def test_two_sandboxes_live_side_by_side(tmp_path: Path) -> None:
    with start(tmp_path / "one") as one, start(tmp_path / "two") as two:
        tokens = {found.environment()["HETZNER_API_TOKEN"] for found in (one, two)}
        ports = {found.edge_port for found in (one, two)}
    assert len(tokens) == len(ports) == 2
