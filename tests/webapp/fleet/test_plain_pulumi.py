import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.supervisor import Sandbox
from stacks.project import make_project
from tests.stacks.conftest import PASSPHRASE, pulumi_home
from tests.stacks.workplace import KEPT
from webapp.instances.models import Instance
from webapp.settings import STATE

__all__ = ["pulumi_home"]

TIMEOUT_S = 240

pytestmark = pytest.mark.engine


@pytest.fixture
def environment(
    sandbox: Sandbox,
    keys: dict[str, str],
    database_url: str,
    pulumi_home: Path,
    tmp_path: Path,
) -> dict[str, str]:
    """A shell's, set up for a project of the test's own."""
    make_project(tmp_path / "project")
    own = {
        "CLAWDET_DATABASE_URL": database_url,
        "CLAWDET_PROJECT": str(tmp_path / "project"),
        "PULUMI_HOME": str(pulumi_home),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
    }
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    secrets = {name.upper(): value for name, value in keys.items()}
    return sandbox.environment() | secrets | own | kept


def test_an_operator_previews_an_instance_with_plain_pulumi(
    live: Instance, environment: dict[str, str], tmp_path: Path
) -> None:
    written = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "webapp.app", "stacks", "write-settings", "alice"],
        env=environment,
        cwd=STATE.parent,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert written.returncode == 0, written.stderr
    preview = subprocess.run(
        ["bash", "-c", f"{written.stdout}\npulumi preview -s alice --non-interactive"],
        env=environment,
        cwd=tmp_path / "project",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert preview.returncode == 0, preview.stdout + preview.stderr
    assert "hcloud:index:Server" in preview.stdout
    assert "pulumi preview -s alice" in written.stderr
