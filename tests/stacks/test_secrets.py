"""No secret stands in plain text anywhere that an operation writes, shows or starts."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import psutil
import pytest

from stacks.errors import StackError
from stacks.operations import Stacks
from tests.stacks.conftest import PASSPHRASE
from tests.stacks.outside import Outside
from tests.stacks.workplace import Workplace

pytestmark = pytest.mark.engine


def secrets_of(stacks: Stacks, slug: str) -> dict[str, str]:
    """Every secret of an instance by name; of a private key its second line: the first is a title
    that all share."""
    found = stacks.secrets(slug).model_dump()
    for public in ("ssh_public_key", "user_data"):
        found.pop(public)
    for key in ("ssh_private_key", "host_private_key", "origin_key"):
        found[key] = found[key].splitlines()[2 if "origin" not in key else 1]
    assert min(map(len, found.values())) > 30
    return found | {"passphrase": PASSPHRASE}


def check_none_in(found: dict[str, bytes], secrets: dict[str, str]) -> None:
    assert found
    shown = {
        (name, where)
        for where, content in found.items()
        for name, secret in secrets.items()
        if secret.encode() in content
    }
    assert shown == set()


@contextmanager
def watched(place: Workplace) -> Iterator[dict[str, bytes]]:
    """The command lines of every engine and plugin that runs during the block."""
    lines: dict[str, bytes] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for process in place.processes():
                with contextlib.suppress(psutil.Error):
                    line = " ".join(process.cmdline())
                    lines[line] = line.encode()

    thread = threading.Thread(target=watch)
    thread.start()
    yield lines
    over.set()
    thread.join()


def test_no_secret_in_files_command_lines_results_or_progress(
    own_plugins: Workplace, place: Workplace, outside: Outside
) -> None:
    stacks = place.stacks()
    said: list[Any] = []
    with watched(place) as command_lines:
        stacks.init("alice")
        said.append(asdict(stacks.preview("alice", on_progress=said.append)))
        stacks.configure("alice", install=False)
        said.append(asdict(own_plugins.stacks().up("alice", on_progress=said.append)))
        rotated = place.stacks(anthropic_api_key="sk-ant-another-key-entirely-0123456789")
        rotated.configure("alice")
        said.append(asdict(rotated.preview("alice", refresh=True, on_progress=said.append)))
    said += [stacks.outputs("alice"), stacks.history("alice"), stacks.export("alice")]
    secrets = secrets_of(stacks, "alice")
    assert any("up" in line.split() for line in command_lines)
    check_none_in(command_lines, secrets)
    check_none_in({"said": json.dumps(said, default=str).encode()}, secrets)
    files = place.files()
    assert any(name.endswith("/alice.json") for name in files)
    check_none_in({name: unpacked(content) for name, content in files.items()}, secrets)


def unpacked(content: bytes) -> bytes:
    """The engine compresses its logs."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def test_no_secret_in_what_a_failing_command_says(place: Workplace, outside: Outside) -> None:
    stacks = place.initialised("alice")
    secrets = secrets_of(stacks, "alice")
    outside.fault(vendor="hetzner", method="POST", path="^/v1/servers$", status=500)
    with pytest.raises(StackError) as stop:
        stacks.up("alice")
    told = f"{stop.value}{stop.value.remedy}{getattr(stop.value, 'log', '')}"
    ran = place.run("up", "alice")
    said = {"error": told, "stdout": ran.stdout, "stderr": ran.stderr}
    check_none_in({name: text.encode() for name, text in said.items()}, secrets)
