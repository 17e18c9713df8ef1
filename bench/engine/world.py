"""The outside world of a measurement: a sandbox with instant clouds, and a project of its own."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.engine.processes import cpu_s
from sandbox.supervisor import Sandbox
from stacks.project import make_project
from stacks.settings import CHECKOUT, STATE


class BenchError(Exception):
    """Something under measurement failed, so that its figures would mean nothing."""


@dataclass(frozen=True)
class World:
    """`environment`: what `python -m stacks`, plain `pulumi` and the SDK need, in full."""

    sandbox: Sandbox
    project: Path
    environment: dict[str, str]

    def sandbox_cpu_s(self) -> float:
        """Processor seconds that the clouds have used so far."""
        return cpu_s(self.sandbox.running.clouds.process.pid)


@contextmanager
def new_world() -> Iterator[World]:
    """Start one; nothing of it is left afterwards."""
    with TemporaryDirectory(prefix="clawdet-bench-") as name:
        project, home = Path(name, "project"), Path(name, "home")
        make_project(project)
        home.mkdir()
        for shared in ("plugins", "bin"):
            (home / shared).symlink_to(STATE / "pulumi" / shared)
        with Sandbox.start(Path(name, "sandbox"), machines="api-only") as sandbox:
            given = sandbox.environment() | {
                "CLAWDET_PROJECT": str(project),
                "PULUMI_HOME": str(home),
                "PULUMI_BACKEND_URL": f"file://{project / '.clawdet' / 'state'}",
                "PULUMI_CONFIG_PASSPHRASE": "measured, never kept",
            }
            yield World(sandbox, project, _for_plain_pulumi({**os.environ, **given}))


def _for_plain_pulumi(environment: dict[str, str]) -> dict[str, str]:
    """The environment with what `python -m stacks env` tells an operator to export."""
    done = subprocess.run(
        [sys.executable, "-m", "stacks", "env"],
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"`python -m stacks env` failed: {done.stderr.strip()}")
    exports = (shlex.split(line)[1] for line in done.stdout.splitlines())
    return environment | dict(export.split("=", 1) for export in exports)
