"""What the plugins say about inputs, without engine or cloud: over the real gRPC service."""

from collections.abc import Iterator
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sandbox.plugins.serve import NAMES, PluginServer, load
from sandbox.plugins.values import UNKNOWN, decode, encode
from tests.sandbox.plugins import official

KINDS = provider_pb2.PropertyDiff.Kind
SERVER = "hcloud:index/server:Server"
SAMPLES = {"string": "x", "boolean": True, "number": 7, "list": [], "map": {"a": "b"}}


class Plugin:
    """One plugin as an engine sees it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = provider_pb2_grpc.ResourceProviderStub(channel)
        self._stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address=""))

    def check(self, token: str, news: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
        """Check inputs; the answer with its inputs decoded, and the failures by property."""
        answer = self._stub.Check(
            provider_pb2.CheckRequest(
                urn=urn(token), news=encode(news), olds=encode(olds or {}), randomSeed=b"seed"
            )
        )
        return decode(answer.inputs), {found.property: found.reason for found in answer.failures}

    def diff(
        self, token: str, state: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
    ) -> Any:
        """Compare."""
        return self._stub.Diff(
            provider_pb2.DiffRequest(
                urn=urn(token),
                id="1",
                olds=encode(state),
                old_inputs=encode(old),
                news=encode(new),
            )
        )

    def check_config(self, **news: Any) -> dict[str, str]:
        """Check a provider's settings; the failures by setting."""
        request = provider_pb2.CheckRequest(urn=urn("pulumi:providers:x"), news=encode(news))
        return {one.property: one.reason for one in self._stub.CheckConfig(request).failures}


def urn(token: str) -> str:
    """The URN of a resource called `thing`."""
    return f"urn:pulumi:alice::clawdet::{token}::thing"


@pytest.fixture(scope="module")
def plugins() -> Iterator[dict[str, Plugin]]:
    """All plugins, served in this process."""
    servers = {name: PluginServer(load(name)) for name in NAMES}
    channels = {
        name: grpc.insecure_channel(f"127.0.0.1:{server.port}") for name, server in servers.items()
    }
    yield {name: Plugin(channel) for name, channel in channels.items()}
    for channel in channels.values():
        channel.close()
    for server in servers.values():
        server.stop()


def test_inputs_and_required_ones_are_those_of_the_official_schema() -> None:
    for token, schema in official.load("official_schema.json").items():
        resource = load("hcloud").resources[token]
        assert set(resource.fields) == set(schema["inputs"])
        made_up = {"name"} if resource.named else set()
        required = {name for name, field in resource.fields.items() if field.required}
        assert required - made_up == set(schema["required"])
        assert set(resource.fields) | set(resource.computed) - {"id"} == set(schema["outputs"])


def test_every_change_the_official_schema_replaces_on_replaces(plugins: dict[str, Plugin]) -> None:
    for token, schema in official.load("official_schema.json").items():
        fields = load("hcloud").resources[token].fields
        for name in schema["replaceOnChanges"]:
            kind = fields[name].kind
            old = {"list": ["a"], "number": 1}.get(kind, "a")
            new = {"list": ["b"], "number": 2}.get(kind, "b")
            answer = plugins["hcloud"].diff(token, {name: old}, {name: old}, {name: new})
            assert list(answer.replaces) == [name]


def test_nothing_else_of_a_server_firewall_or_snapshot_replaces(
    plugins: dict[str, Plugin],
) -> None:
    schemas = official.load("official_schema.json")
    for token in (SERVER, "hcloud:index/firewall:Firewall", "hcloud:index/snapshot:Snapshot"):
        for name, field in load("hcloud").resources[token].fields.items():
            if name in schemas[token]["replaceOnChanges"] or field.unsupported:
                continue
            answer = plugins["hcloud"].diff(token, {}, {}, {name: SAMPLES[field.kind]})
            assert list(answer.replaces) == []


@pytest.mark.parametrize(
    ("token", "state", "new"),
    [
        ("hcloud:index/sshKey:SshKey", {"publicKey": "a"}, {"publicKey": "b"}),
        ("hcloud:index/rdns:Rdns", {"ipAddress": "1.2.3.4"}, {"ipAddress": "1.2.3.5"}),
    ],
)
def test_what_the_api_cannot_change_replaces_though_the_schema_does_not_say_so(
    plugins: dict[str, Plugin], token: str, state: dict[str, Any], new: dict[str, Any]
) -> None:
    assert list(plugins["hcloud"].diff(token, state, state, new).replaces) == list(new)


def test_a_name_is_made_up_once_and_kept(plugins: dict[str, Plugin]) -> None:
    given = {"serverType": "cpx22", "image": "ubuntu-24.04"}
    inputs, failures = plugins["hcloud"].check(SERVER, given)
    assert failures == {}
    assert inputs["__defaults"] == ["name"]
    assert inputs["name"].startswith("thing-")
    assert len(inputs["name"]) == len("thing-") + 7
    assert plugins["hcloud"].check(SERVER, given, inputs)[0] == inputs


def test_missing_unexpected_and_mistyped_inputs_are_named(plugins: dict[str, Plugin]) -> None:
    _, missing = plugins["hcloud"].check(SERVER, {})
    assert 'The argument "server_type" is required' in missing["serverType"]
    wrong = {"serverType": "cpx22", "colour": "red", "labels": "no map", "firewallIds": ["x"]}
    _, failures = plugins["hcloud"].check(SERVER, wrong)
    assert 'An argument named "colour" is not expected here' in failures["colour"]
    assert "expected type 'object', got 'string'" in failures["labels"]
    assert "expected type 'number', got 'string'" in failures["firewallIds[0]"]


def test_values_unknown_in_a_preview_pass_the_check_and_are_a_change(
    plugins: dict[str, Plugin],
) -> None:
    given = {"serverType": "cpx22", "name": "a", "sshKeys": [UNKNOWN]}
    inputs, failures = plugins["hcloud"].check(SERVER, given)
    assert failures == {}
    assert inputs["sshKeys"] == [UNKNOWN]
    state = {"serverType": "cpx22", "name": "a", "sshKeys": ["1"]}
    assert list(plugins["hcloud"].diff(SERVER, state, state, inputs).replaces) == ["sshKeys"]


def test_a_given_name_is_freed_before_the_replacement_takes_it(plugins: dict[str, Plugin]) -> None:
    state = {"name": "erin", "image": "debian-12"}
    new = {"name": "erin", "image": "ubuntu-24.04", "__defaults": []}
    assert plugins["hcloud"].diff(SERVER, state, state, new).deleteBeforeReplace
    new["__defaults"] = ["name"]
    assert not plugins["hcloud"].diff(SERVER, state, state, new).deleteBeforeReplace


def test_what_a_stand_in_does_not_serve_is_refused_with_a_remedy(
    plugins: dict[str, Plugin],
) -> None:
    _, failures = plugins["hcloud"].check(SERVER, {"serverType": "cpx22", "iso": "x"})
    assert "install the official hcloud plugin" in failures["iso"]
    with pytest.raises(grpc.RpcError, match="pulumi plugin install resource hcloud"):
        plugins["hcloud"].check("hcloud:index/volume:Volume", {})


def test_tokens_of_a_wrong_length_are_refused(plugins: dict[str, Plugin]) -> None:
    endpoint = "http://127.0.0.1:1/v1"
    failures = plugins["hcloud"].check_config(token="short", endpoint=endpoint)
    assert "must be exactly 64 characters long" in failures["token"]
    assert plugins["hcloud"].check_config(token="a" * 64, endpoint=endpoint) == {}
    failures = plugins["cloudflare"].check_config(apiToken="a" * 39, baseUrl="http://[::1]:1/")
    assert "40 characters" in failures["apiToken"]


def test_a_poll_interval_is_a_go_duration(plugins: dict[str, Plugin]) -> None:
    settings = {"token": "a" * 64, "endpoint": "http://localhost:1/v1"}
    assert plugins["hcloud"].check_config(**settings, pollInterval="1m1.5s") == {}
    failures = plugins["hcloud"].check_config(**settings, pollInterval="soon")
    assert 'invalid duration "soon"' in failures["pollInterval"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("hcloud", {"token": "a" * 64}),
        ("hcloud", {"token": "a" * 64, "endpoint": "http://127.0.0.1.example.com/v1"}),
        ("cloudflare", {"apiToken": "a" * 40}),
    ],
)
def test_an_endpoint_outside_this_machine_is_refused_unless_the_operator_insists(
    plugins: dict[str, Plugin],
    name: str,
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (reason,) = plugins[name].check_config(**settings).values()
    assert f"pulumi plugin install resource {name}" in reason
    assert "CLAWDET_STANDIN_PLUGINS=1" in reason
    monkeypatch.setenv("CLAWDET_STANDIN_PLUGINS", "1")
    assert plugins[name].check_config(**settings) == {}
