"""remote.Command and CopyToRemote against a real OpenSSH server, by the real engine."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi_command import remote

from tests.sandbox.plugins.bench import Bench, Ran
from tests.sandbox.plugins.ssh_server import SshServer, free_port

pytestmark = pytest.mark.engine

COMMAND = "command:remote:Command"
COPY = "command:remote:CopyToRemote"


def command(
    connection: dict[str, Any], secret_stdin: str | None = None, **inputs: Any
) -> Callable[[], None]:
    """A program with one remote command, `step`."""

    def program() -> None:
        if secret_stdin:
            inputs["stdin"] = pulumi.Output.secret(secret_stdin)
        made = remote.Command("step", connection=remote.ConnectionArgs(**connection), **inputs)
        pulumi.export("stdout", made.stdout)
        pulumi.export("stderr", made.stderr)

    return program


def test_a_command_lives_through_create_update_replace_and_delete(
    bench: Bench, ssh: SshServer, tmp_path: Path
) -> None:
    stack, log = bench.stack("life"), tmp_path / "log"
    inputs: dict[str, Any] = {
        "create": f"echo created $GREETING; cat; echo aside >&2; echo create >> {log}",
        "update": f"echo updated after $PULUMI_COMMAND_STDOUT; echo update >> {log}",
        "delete": f"echo delete >> {log}",
        "environment": {"GREETING": "hello"},
    }
    connection = ssh.connection()

    created = stack.up(command(connection, stdin="in\n", triggers=["v1"], **inputs))
    assert created.error == ""
    assert stack.outputs == {"stdout": "created hello\nin", "stderr": "aside"}
    assert "created hello" in created.messages
    assert "aside" in created.messages

    again = stack.up(command(connection, stdin="in\n", triggers=["v1"], **inputs))
    assert again.steps == {}

    changed = stack.up(command(connection, stdin="other\n", triggers=["v1"], **inputs))
    assert changed.steps == {COMMAND: "update"}
    assert stack.outputs["stdout"] == "updated after created hello in"

    replaced = stack.up(command(connection, stdin="other\n", triggers=["v2"], **inputs))
    assert "replace" in replaced.steps[COMMAND]
    assert stack.refresh().steps == {}
    assert stack.destroy().error == ""
    assert log.read_text().split() == ["create", "update", "create", "delete", "delete"]


def test_the_state_of_a_command_is_the_official_one_and_holds_no_secret_in_plain_text(
    bench: Bench, ssh: SshServer
) -> None:
    stack = bench.stack("state")

    def program() -> None:
        remote.Command(
            "install",
            connection=remote.ConnectionArgs(**ssh.connection()),
            create="cat > /dev/null; echo installed; sleep 0.1",
            stdin=pulumi.Output.secret("open sesame"),
            triggers=["v1"],
        )

    assert stack.up(program).error == ""

    found = stack.resource(COMMAND)
    assert found["id"].startswith("install")
    assert len(found["id"]) == len("install") + 8
    for part in ("inputs", "outputs"):
        for name in ("connection", "stdin"):
            assert "ciphertext" in found[part].pop(name)
    shared = {"create": "cat > /dev/null; echo installed; sleep 0.1", "triggers": ["v1"]}
    assert found["inputs"] == shared
    assert found["outputs"] == {**shared, "stdout": "installed", "stderr": ""}
    assert "open sesame" not in stack.text
    assert ssh.private_key.splitlines()[2] not in stack.text


def test_a_failing_command_names_its_status_its_text_and_its_output(
    bench: Bench, ssh: SshServer
) -> None:
    text = 'echo out; echo "so sad" >&2; exit 3'
    program = command(ssh.connection(), secret_stdin="open sesame", create=text)
    failed = bench.stack("fail").up(program)
    assert 'Process exited with status 3: running "echo out; echo \\"so sad\\"' in failed.messages
    assert "so sad" in failed.messages
    assert "open sesame" not in failed.messages + failed.error


def test_a_wrong_host_key_is_named_after_the_last_try(bench: Bench, ssh: SshServer) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFDjbwdjvJiEoNBTe4Q0j8yxM0rcXSzu1WuSx4t16+dR"
    failed = bench.stack("key").up(command(ssh.connection(host_key=other), create="true"))
    assert "after 3 failed attempts: ssh: handshake failed: ssh: host key mismatch" in (
        failed.messages
    )


def test_without_a_pinned_key_any_host_is_accepted(bench: Bench, ssh: SshServer) -> None:
    assert bench.stack("any").up(command(ssh.connection(host_key=None), create="true")).error == ""


def test_a_closed_port_is_dialled_as_often_as_allowed(bench: Bench, ssh: SshServer) -> None:
    connection = ssh.connection(port=free_port(), dial_error_limit=2)
    failed = bench.stack("closed").up(command(connection, create="true"))
    assert "after 2 failed attempts: dial tcp" in failed.messages
    assert "connection refused" in failed.messages
    assert "Dial 1/2 failed: retrying" in failed.messages


def test_a_port_that_stays_silent_ends_each_try_in_time(bench: Bench, ssh: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = ssh.connection(
            port=silent.getsockname()[1], per_dial_timeout=1, dial_error_limit=1
        )
        began = time.monotonic()
        failed = bench.stack("silent").up(command(connection, create="true"))
    assert "after 1 failed attempts: ssh: handshake failed" in failed.messages
    assert time.monotonic() - began < 60


def test_an_environment_variable_the_server_refuses_is_an_error(
    bench: Bench, ssh: SshServer
) -> None:
    program = command(ssh.connection(), create="true", environment={"FORBIDDEN": "1"})
    failed = bench.stack("env").up(program)
    assert 'could not set environment variable "FORBIDDEN"' in failed.messages


def test_a_proxy_is_refused_with_a_remedy(bench: Bench, ssh: SshServer) -> None:
    proxy = remote.ProxyConnectionArgs(host="127.0.0.1")
    failed = bench.stack("proxy").preview(command(ssh.connection(proxy=proxy), create="true"))
    assert "install the official command plugin" in failed.error


def test_an_interrupted_engine_stops_waiting_for_a_command(bench: Bench, ssh: SshServer) -> None:
    stack = bench.stack("stop")
    ran: list[Ran] = []
    program = command(ssh.connection(), create="echo begun; sleep 60")
    thread = threading.Thread(target=lambda: ran.append(stack.up(program)))
    began = time.monotonic()
    thread.start()
    time.sleep(6)
    stack.interrupt()
    thread.join(30)
    assert ran
    assert time.monotonic() - began < 90
    assert "cancelled" in ran[0].messages


def test_a_directory_is_copied_with_its_executables_and_again_when_it_changed(
    bench: Bench, ssh: SshServer, tmp_path: Path
) -> None:
    source, target = tmp_path / "install", tmp_path / "opt" / "install"
    (source / "deep").mkdir(parents=True)
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "deep" / "data").write_text("one")
    stack = bench.stack("copy")

    def program() -> None:
        remote.CopyToRemote(
            "files",
            connection=remote.ConnectionArgs(**ssh.connection()),
            source=pulumi.FileArchive(f"{source}/"),
            remote_path=str(target),
        )

    assert stack.up(program).error == ""
    assert (target / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (target / "deep" / "data").stat().st_mode & 0o777 == 0o644
    assert stack.up(program).steps == {}

    (source / "deep" / "data").write_text("two")
    assert stack.up(program).steps == {COPY: "update"}
    assert (target / "deep" / "data").read_text() == "two"
    assert stack.destroy().error == ""
    assert target.exists()


def test_texts_and_files_are_copied_to_a_path_or_into_a_directory(
    bench: Bench, ssh: SshServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "existing").mkdir()
    archive = pulumi.AssetArchive(
        {"a/text": pulumi.StringAsset("text"), "b": pulumi.FileAsset(str(tmp_path / "file"))}
    )
    sources: dict[str, pulumi.Asset | pulumi.Archive] = {
        "new/text": pulumi.StringAsset("a text"),
        "existing": pulumi.FileAsset(str(tmp_path / "file")),
        "archive": archive,
    }

    def program() -> None:
        for name, source in sources.items():
            remote.CopyToRemote(
                name,
                connection=remote.ConnectionArgs(**ssh.connection()),
                source=source,
                remote_path=str(tmp_path / name),
            )

    assert bench.stack("kinds").up(program).error == ""
    assert (tmp_path / "new" / "text").read_text() == "a text"
    assert (tmp_path / "existing" / "file").read_text() == "a file"
    assert (tmp_path / "archive" / "a" / "text").read_text() == "text"
    assert (tmp_path / "archive" / "b").read_text() == "a file"
