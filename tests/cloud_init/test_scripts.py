"""The install steps as scripts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cloud_init.documents import INSTALL

STEPS = sorted(INSTALL.glob("[0-9]*.sh"))
NAMES = [
    "10-prepare.sh",
    "20-node.sh",
    "30-openclaw.sh",
    "40-caddy.sh",
    "50-configure.sh",
    "60-start.sh",
    "70-verify.sh",
]


def test_the_steps_are_these() -> None:
    assert [step.name for step in STEPS] == NAMES


@pytest.mark.parametrize("step", [*STEPS, INSTALL / "lib.sh"], ids=lambda step: step.name)
def test_a_step_is_sound_bash(step: Path) -> None:
    subprocess.run(["bash", "-n", step], check=True, timeout=30)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(
        ["shellcheck", "--external-sources", *STEPS, INSTALL / "lib.sh"],
        cwd=INSTALL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_stops_at_its_first_error_and_may_be_executed(step: Path) -> None:
    lines = step.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines[:4]
    assert os.access(step, os.X_OK)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_refuses_to_run_as_an_ordinary_user(step: Path, tmp_path: Path) -> None:
    pretend = tmp_path / "id"  # `id -u` of somebody else, wherever the tests run
    pretend.write_text("#!/bin/sh\necho 1000\n")
    pretend.chmod(0o755)
    script = step.read_text().replace('$(dirname "$0")', str(INSTALL))
    script = script.replace("read_parameters", f"PATH={tmp_path}:$PATH; read_parameters")
    done = subprocess.run(
        ["bash", "-c", script, step.name],
        input="{}",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 70
    assert done.stderr == f"{step.stem}: must be run as root\n"
