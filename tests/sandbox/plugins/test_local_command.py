"""local.Command over the real gRPC service; no engine, no cloud."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sandbox.plugins.serve import PluginServer, load
from sandbox.plugins.values import decode, encode

URN = "urn:pulumi:alice::clawdet::command:local:Command::step"


class Local:
    """The command plugin as one engine sees it."""

    def __init__(self, port: int) -> None:
        # Of its own, as each engine has; else gRPC shares one connection within this process.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self._stub = provider_pb2_grpc.ResourceProviderStub(self.channel)
        self._stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address=""))
        self._stub.Configure(provider_pb2.ConfigureRequest())

    def create(self, timeout: float = 0.0, **inputs: Any) -> dict[str, Any]:
        """Run a create; its outputs."""
        request = provider_pb2.CreateRequest(urn=URN, properties=encode(inputs), timeout=timeout)
        return decode(self._stub.Create(request).properties)

    def update(self, state: dict[str, Any], **inputs: Any) -> dict[str, Any]:
        """Run an update; its outputs."""
        request = provider_pb2.UpdateRequest(
            urn=URN, id="step", olds=encode(state), news=encode(inputs)
        )
        return decode(self._stub.Update(request).properties)

    def failures(self, **inputs: Any) -> dict[str, str]:
        """Check inputs; what is wrong by property."""
        request = provider_pb2.CheckRequest(urn=URN, news=encode(inputs))
        return {one.property: one.reason for one in self._stub.Check(request).failures}

    def cancel(self) -> None:
        """What an interrupted engine asks."""
        self._stub.Cancel(empty_pb2.Empty())


@pytest.fixture
def server() -> Iterator[PluginServer]:
    """The command plugin in this process."""
    made = PluginServer(load("command"))
    yield made
    made.stop()


@pytest.fixture
def local(server: PluginServer) -> Iterator[Local]:
    """One engine's view of it."""
    made = Local(server.port)
    yield made
    made.channel.close()


def test_a_command_gets_its_directory_environment_interpreter_and_stdin(
    local: Local, tmp_path: Path
) -> None:
    outputs = local.create(
        create="import os, sys; print(os.getcwd(), os.environ['WORD'], sys.stdin.read())",
        interpreter=["python3", "-c"],
        dir=str(tmp_path),
        environment={"WORD": "hello"},
        stdin="from stdin",
    )
    assert outputs["stdout"] == f"{tmp_path} hello from stdin"
    assert outputs["stderr"] == ""


def test_an_update_sees_the_output_before_it(local: Local) -> None:
    state = local.create(create="echo one")
    text = 'echo "after ${PULUMI_COMMAND_STDOUT-nothing}"'
    assert local.update(state, create="echo one", update=text)["stdout"] == "after one"
    told = local.update(state, create=text, addPreviousOutputInEnv=False)
    assert told["stdout"] == "after nothing"


def test_a_failing_command_names_its_status_its_text_and_its_output(local: Local) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        local.create(create="echo out; echo err >&2; exit 4")
    text = failed.value.details()
    assert 'exit status 4: running "echo out; echo err >&2; exit 4":\n' in text
    assert "err" in text


def test_a_command_ends_with_its_time_out_and_with_everything_it_started(
    local: Local, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    began = time.monotonic()
    with pytest.raises(grpc.RpcError, match="timeout while waiting"):
        local.create(timeout=1.0, create=f"(sleep 8; touch {mark}) & sleep 60")
    assert time.monotonic() - began < 8
    time.sleep(8)
    assert not mark.exists()


def test_an_interruption_ends_the_commands_of_its_own_engine_only(server: PluginServer) -> None:
    interrupted, other = Local(server.port), Local(server.port)
    ended: dict[str, Any] = {}

    def run(name: str, engine: Local, text: str) -> None:
        try:
            ended[name] = engine.create(create=text)["stdout"]
        except grpc.RpcError as error:
            ended[name] = error.details()

    threads = [
        threading.Thread(target=run, args=("interrupted", interrupted, "sleep 30")),
        threading.Thread(target=run, args=("other", other, "sleep 2; echo done")),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    interrupted.cancel()
    for thread in threads:
        thread.join(60)
    assert ended == {"interrupted": "the operation was cancelled", "other": "done"}
    for engine in (interrupted, other):
        engine.channel.close()


def test_returned_files_are_refused_with_a_remedy(local: Local) -> None:
    failures = local.failures(create="true", assetPaths=["*"])
    assert "install the official command plugin" in failures["assetPaths"]
