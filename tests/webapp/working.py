"""A worker within the test's process: real jobs, real engine, servers in the API only."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from sandbox.supervisor import Sandbox
from stacks.engine import Engine
from stacks.project import make_project
from stacks.settings import Settings
from tests.leaks import without_leaks_of_the_sdk
from tests.stacks.conftest import PASSPHRASE, pulumi_home, shared_plugins
from tests.stacks.conftest import engine as pulumi_engine
from webapp.adapters.orchestrator import Orchestrator
from webapp.http.context import Clawdet
from webapp.jobs import SMALL, STACKS
from webapp.worker import Worker

__all__ = [
    "orchestrator",
    "pulumi_engine",
    "pulumi_home",
    "shared_plugins",
    "stack_settings",
    "work",
]

Work = Callable[..., None]
POLL_S = 0.05


@pytest.fixture
def stack_settings(
    sandbox: Sandbox, pulumi_home: Path, shared_plugins: str, tmp_path: Path
) -> dict[str, str]:
    """`stacks`' settings for a project of the test's own, as environment variables."""
    directory = tmp_path / "project"
    make_project(directory)
    return sandbox.environment() | {
        "CLAWDET_PROJECT": str(directory),
        "PULUMI_HOME": str(pulumi_home),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_DEBUG_PROVIDERS": shared_plugins,
        "CLAWDET_MAX_OPERATIONS": "4",
    }


@pytest.fixture
def orchestrator(
    stack_settings: dict[str, str], pulumi_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Orchestrator]:
    """The operations; nothing is installed, because the servers are no machines."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    given = {name.lower(): value for name, value in stack_settings.items()}
    with without_leaks_of_the_sdk():
        yield Orchestrator(Settings.model_validate(given), pulumi_engine, install=False)


@pytest.fixture
def work(c: Clawdet, orchestrator: Orchestrator) -> Work:
    """`work()` runs the jobs that wait until none does; `work(stacks=False)` leaves the
    reconciler's. What is delayed is left, and nothing is done that only the clock asks for."""
    structlog.contextvars.clear_contextvars()

    def work(stacks: bool = True) -> None:
        queues = (STACKS, SMALL) if stacks else (SMALL,)
        with Worker(
            c, orchestrator, name="test", queues=queues, poll_s=POLL_S, scheduled=False
        ) as worker:
            worker.work_until_idle()

    return work
