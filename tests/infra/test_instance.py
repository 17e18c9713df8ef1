"""The program under Pulumi's mocks: which resources one instance is, and what they are told."""

import asyncio
import gc
import json
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi
import pytest
from pulumi.runtime import Mocks, mocks
from pulumi.runtime.stack import wait_for_rpcs

from infra.config import InstanceConfig
from infra.instance import Instance

SECRETS = {
    "hetzner_token": "h" * 64,
    "cloudflare_token": "c" * 40,
    "anthropic_api_key": "sk-ant-1",
    "gateway_token": "gateway-1",
    "ssh_private_key": "PRIVATE",
    "ssh_public_key": "ssh-ed25519 AAAA",
    "host_private_key": "HOST PRIVATE",
    "origin_key": "ORIGIN KEY",
    "user_data": "#cloud-config\n",
}


class Recorder(Mocks):
    """Remembers every resource as the engine would be asked for it."""

    def __init__(self) -> None:
        self.resources: dict[str, pulumi.runtime.MockResourceArgs] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources[args.name] = args
        outputs = {"ipv4Address": "203.0.113.7", "certificate": "CERTIFICATE"}
        return f"{args.name}-id", {**args.inputs, **outputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        raise AssertionError(f"the program reads nothing from outside, yet calls {args.token}")


def declare(**overrides: str) -> Recorder:
    """Run the program for `alice` with these configuration values on top.

    In a thread of its own: the mocks keep that thread's event loop, which is closed at its end.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_declare, overrides).result()


def _declare(overrides: dict[str, str]) -> Recorder:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    recorder = Recorder()
    mocks.set_mocks(recorder, project="clawdet", stack="alice")
    config = {
        "slug": "alice",
        "domain": "clawdet.com",
        "zoneId": "0" * 32,
        "location": "hel1",
        "serverType": "cpx22",
        "image": "ubuntu-24.04",
        "hostPublicKey": "ssh-ed25519 HOST",
        "certificateRequest": "REQUEST",
        "installArchive": "/nowhere/install.tar.gz",
        "installDigest": "digest-1",
        "release": json.dumps({"release": "1", "node": {}, "openclaw": {}, "caddy": {}}),
        "secrets": json.dumps(SECRETS),
        **overrides,
    }
    pulumi.runtime.set_all_config(
        {f"clawdet:{key}": value for key, value in config.items()}, ["clawdet:secrets"]
    )

    async def run() -> None:
        parsed = InstanceConfig.from_stack(pulumi.Config())
        Instance(parsed.slug, parsed)
        await wait_for_rpcs()

    loop.run_until_complete(run())
    with warnings.catch_warnings():
        # The mocks make an event loop in each of these threads and never close it.
        warnings.simplefilter("ignore", ResourceWarning)
        loop.run_until_complete(loop.shutdown_default_executor())
        gc.collect()
    loop.close()
    return recorder


@pytest.fixture(scope="module")
def alice() -> Iterator[Recorder]:
    yield declare()


def test_one_instance_is_a_server_a_certificate_a_record_and_the_install(alice: Recorder) -> None:
    kinds = sorted(r.typ for r in alice.resources.values() if not r.typ.startswith("pulumi:"))
    assert kinds == sorted(
        [
            "clawdet:index:Instance",
            "clawdet:index:Install",
            "hcloud:index/server:Server",
            "cloudflare:index/originCaCertificate:OriginCaCertificate",
            "cloudflare:index/dnsRecord:DnsRecord",
            "command:local:Command",
            "command:remote:CopyToRemote",
            *["command:remote:Command"] * 7,
        ]
    )


def test_server_is_found_again_by_its_labels(alice: Recorder) -> None:
    inputs = alice.resources["server"].inputs
    assert inputs["labels"] == {"managed-by": "clawdet", "instance": "alice"}
    assert (inputs["serverType"], inputs["image"], inputs["location"]) == (
        "cpx22",
        "ubuntu-24.04",
        "hel1",
    )


def test_record_is_proxied_marked_ours_and_points_at_the_server(alice: Recorder) -> None:
    inputs = alice.resources["record"].inputs
    assert inputs["content"] == "203.0.113.7"
    assert inputs["proxied"] is True
    assert inputs["name"] == "alice.clawdet.com"
    assert inputs["comment"] == "clawdet instance alice"


def test_every_connection_pins_the_host_key(alice: Recorder) -> None:
    remote = [r for r in alice.resources.values() if r.typ.startswith("command:remote")]
    keys = {plain(r.inputs["connection"])["hostKey"] for r in remote}
    assert keys == {"ssh-ed25519 HOST"}


def test_no_secret_is_in_a_command_and_every_stdin_with_one_is_secret(alice: Recorder) -> None:
    for resource in alice.resources.values():
        if resource.typ != "command:remote:Command":
            continue
        command, stdin = resource.inputs["create"], resource.inputs["stdin"]
        assert not any(value in command for value in SECRETS.values() if len(value) > 4)
        if "gateway-1" in json.dumps(plain(stdin)):
            assert is_secret(stdin), resource.name


def test_remote_commands_are_bounded_on_the_server(alice: Recorder) -> None:
    commands = [r.inputs["create"] for r in alice.resources.values() if "Command" in r.typ]
    assert all("timeout -k" in c for c in commands if "/opt/clawdet" in c)


def test_without_an_archive_nothing_is_installed() -> None:
    bare = declare(installArchive="")
    assert not [r for r in bare.resources.values() if r.typ.startswith("command:")]


def is_secret(value: Any) -> bool:
    """Whether a property arrived at the engine marked as a secret."""
    return isinstance(value, dict) and "4dabf18193072939515e22adb298388d" in value


def plain(value: Any) -> Any:
    """A property without the secret's wrapping."""
    return value["value"] if is_secret(value) else value
