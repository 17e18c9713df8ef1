"""What an operator meets when the install on a real machine goes wrong, and how it goes on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.machines import requirements
from sandbox.supervisor import Sandbox
from stacks.engine import Engine
from stacks.errors import CheckFailed, OperationFailed
from stacks.events import Progress
from stacks.keys import new_ssh_key_pair
from stacks.operations import Stacks
from stacks.outside import check_instance
from stacks.project import ProjectStack, make_project
from tests.leaks import without_leaks_of_the_sdk
from tests.stacks.conftest import PASSPHRASE
from tests.stacks.workplace import Workplace

pytestmark = [pytest.mark.machine, pytest.mark.engine]


@pytest.fixture
def real(tmp_path: Path, pulumi_home: Path, engine: Engine) -> Iterator[Workplace]:
    """A project whose servers are real machines."""
    if problems := requirements.problems():
        pytest.skip("no real machines here: " + "; ".join(problems))
    directory = tmp_path / "project"
    make_project(directory)
    with (
        without_leaks_of_the_sdk(),
        Sandbox.start(tmp_path / "sandbox", machines="nspawn") as sandbox,
    ):
        given = sandbox.environment() | {
            "CLAWDET_PROJECT": str(directory),
            "PULUMI_HOME": str(pulumi_home),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        }
        yield Workplace(directory, given, engine)


def release_with(place: Workplace, tmp_path: Path, **node: str) -> dict[str, Any]:
    """Settings under which the release has another Node.js."""
    release = json.loads(Path(place.given["CLAWDET_RELEASE"]).read_text())
    release["node"] |= node
    path = tmp_path / "release.json"
    path.write_text(json.dumps(release))
    return {"clawdet_release": path}


def failure_of_up(stacks: Stacks) -> OperationFailed:
    with pytest.raises(OperationFailed) as caught:
        stacks.up("alice")
    return caught.value


def check_a_new_token_comes_with_the_next_up(stacks: Stacks) -> None:
    url, old = stacks.settings.instance_url("alice"), stacks.secrets("alice").gateway_token
    check_instance(url, "alice", old)
    token = stacks.rotate_token("alice")
    plan = {c.name: c.op for c in stacks.preview("alice").changes}
    assert {plan[step] for step in ("configure", "start", "verify")} == {"update"}
    assert not plan.keys() & {"server", "record", "certificate", "files"}
    said: list[Progress] = []
    stacks.up("alice", on_progress=said.append)
    assert "restarted openclaw-gateway" in "\n".join(p.text for p in said)
    assert not any(token in p.text or old in p.text for p in said)
    check_instance(url, "alice", token)
    with pytest.raises(CheckFailed, match="gateway accepts the token"):
        check_instance(url, "alice", old, timeout_s=0.0)


def check_a_restart_brings_everything_back(stacks: Stacks) -> None:
    stacks.restart("alice")
    assert stacks.server_status("alice") == "running"
    url, token = stacks.settings.instance_url("alice"), stacks.secrets("alice").gateway_token
    check_instance(url, "alice", token, timeout_s=120)


@pytest.mark.timeout(600)
def test_a_failed_step_is_named_and_where_the_next_up_goes_on(
    real: Workplace, tmp_path: Path
) -> None:
    wrong = real.stacks(**release_with(real, tmp_path, checksum=f"sha256:{'0' * 64}"))
    wrong.init("alice")
    error = failure_of_up(wrong)
    assert error.step == "node"
    assert "wrong sha256 checksum" in str(error)
    assert "stacks up alice" in error.remedy
    token = wrong.secrets("alice").gateway_token
    assert token not in str(error) + error.log

    # The host key of another machine, as if the address had passed to a stranger.
    stack = ProjectStack(wrong.settings, real.engine, "alice")
    ours = stack.plain_value("hostPublicKey")
    stack.write_plain({"hostPublicKey": new_ssh_key_pair().public})
    error = failure_of_up(wrong)
    assert error.step == "reachable"
    assert "host key mismatch" in str(error)

    # A release that can be installed: what was done is not done again.
    stack.write_plain({"hostPublicKey": ours})
    right = real.stacks()
    right.configure("alice")
    plan = right.preview("alice")
    again = {c.name: c.op for c in plan.changes}
    assert again["node"] == "create"
    assert "server" not in again
    right.up("alice")
    check_a_new_token_comes_with_the_next_up(right)
    check_a_restart_brings_everything_back(right)
    right.destroy("alice")
