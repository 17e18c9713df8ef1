"""The executables that `install` writes, used by the plain `pulumi` command."""

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from sandbox.plugins.install import install
from tests.sandbox.plugins.bench import Bench

pytestmark = pytest.mark.engine

PROGRAM = """
import pulumi
import pulumi_command as command

from infra import words

config = pulumi.Config()
if config.get_bool("broken"):
    raise ValueError("this is wrong: " + config.require("password"))
made = command.local.Command("hello", create=words.CREATE, stdin=config.get_secret("password"))
pulumi.export("stdout", made.stdout)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project shaped like ours: Pulumi.yaml at the root, the program in the package `infra`."""
    root = tmp_path / "project"
    (root / "infra").mkdir(parents=True)
    (root / "Pulumi.yaml").write_text("name: clawdet\nruntime: python\nmain: infra/\n")
    (root / "infra" / "__init__.py").write_text("")
    (root / "infra" / "__main__.py").write_text(PROGRAM)
    (root / "infra" / "words.py").write_text('CREATE = "echo hello; cat > /dev/null"\n')
    return root


class Cli:
    """`pulumi` in a project."""

    def __init__(self, bench: Bench, project: Path) -> None:
        self.environment = {**os.environ, **bench.environment}
        self.project = project

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            executable=Path(self.environment["PULUMI_HOME"]) / "bin" / "pulumi",
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def cli(own_plugins_bench: Bench, project: Path) -> Cli:
    """`pulumi` with a stack `alice` that has a secret."""
    made = Cli(own_plugins_bench, project)
    assert made("stack", "init", "alice").returncode == 0
    assert made("config", "set", "--secret", "password", "open sesame").returncode == 0
    return made


def test_preview_up_refresh_stack_and_destroy_work(cli: Cli) -> None:
    preview = cli("preview", "-s", "alice")
    assert preview.returncode == 0, preview.stdout + preview.stderr
    assert "2 to create" in preview.stdout
    assert "warning" not in preview.stdout
    up = cli("up", "-s", "alice", "--yes")
    assert up.returncode == 0, up.stdout
    assert '"hello"' in up.stdout
    again = cli("up", "-s", "alice", "--yes")
    assert "2 unchanged" in again.stdout
    assert cli("refresh", "-s", "alice", "--yes").returncode == 0
    assert "hello" in cli("stack", "output", "stdout", "-s", "alice").stdout
    about = cli("about")
    assert "written in python" in about.stdout
    assert "pulumi_command" in about.stdout.replace("-", "_")
    assert cli("destroy", "-s", "alice", "--yes").returncode == 0


def test_a_program_that_fails_shows_its_lines_and_no_secret(cli: Cli) -> None:
    assert cli("config", "set", "broken", "true").returncode == 0
    failed = cli("preview", "-s", "alice")
    shown = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "ValueError: this is wrong: [secret]" in shown
    assert "infra/__main__.py" in shown
    assert "runpy" not in shown
    assert "open sesame" not in shown


def test_the_plugins_end_with_an_engine_that_was_killed(cli: Cli) -> None:
    (cli.project / "infra" / "words.py").write_text('CREATE = "sleep 30"\n')
    engine = subprocess.Popen(
        ["pulumi", "up", "-s", "alice", "--yes", "--non-interactive", "--skip-preview"],
        executable=Path(cli.environment["PULUMI_HOME"]) / "bin" / "pulumi",
        cwd=cli.project,
        env=cli.environment,
        stdout=subprocess.DEVNULL,
    )
    plugins = _wait_for_plugins(engine.pid)
    engine.kill()
    engine.wait()
    _, alive = psutil.wait_procs(plugins, timeout=60)
    assert alive == []


def test_installing_again_leaves_the_same_executables(tmp_path: Path) -> None:
    first = install(tmp_path)
    assert install(tmp_path) == first
    assert [path.name for path in first] == [
        "pulumi-resource-hcloud",
        "pulumi-resource-cloudflare",
        "pulumi-resource-command",
        "pulumi-language-python",
    ]
    assert all(os.access(path, os.X_OK) for path in first)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(first)


def _wait_for_plugins(pid: int) -> list[psutil.Process]:
    """The plugin and the language host, once the command runs."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        below = psutil.Process(pid).children(recursive=True)
        if any(process.name() == "sleep" for process in below):
            return below
        time.sleep(0.1)
    raise TimeoutError("the command did not start")
