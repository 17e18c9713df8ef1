"""A sandbox with servers that exist in the API only, the engine, and a project per test."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.plugins.install import install
from sandbox.supervisor import Sandbox
from stacks.engine import Engine, find
from stacks.fetching import cache_dir
from stacks.operations import Stacks
from stacks.plugins import installed
from stacks.project import make_project
from stacks.provider_servers import provider_servers
from stacks.settings import STATE, Settings
from tests.leaks import without_leaks_of_the_sdk
from tests.stacks.outside import Outside
from tests.stacks.workplace import Workplace

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell that runs the tests has set is no test's business."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine that `make setup` installed."""
    found = find(cache_dir())
    if found is None:
        pytest.fail("the Pulumi engine is missing: run `make setup`")
    return found


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The clouds and the edge."""
    directory = tmp_path_factory.mktemp("sandbox")
    with Sandbox.start(directory, machines="api-only") as running:
        yield running


@pytest.fixture(scope="session")
def pulumi_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PULUMI_HOME: this checkout's if it has the official plugins, else one of stand-ins."""
    ours = STATE / "pulumi"
    if all(plugin.origin == "official" for plugin in installed(ours)):
        return ours
    home = tmp_path_factory.mktemp("pulumi-home")
    install(home)
    return home


@pytest.fixture(scope="session")
def shared_plugins(pulumi_home: Path) -> Iterator[str]:
    """One running server per plugin; the value for PULUMI_DEBUG_PROVIDERS."""
    with provider_servers(pulumi_home) as ports:
        yield ports


@pytest.fixture
def outside(sandbox: Sandbox) -> Iterator[Outside]:
    """The clouds, empty and whole."""
    outside = Outside(sandbox)
    outside.reset()
    yield outside
    outside.reset()
    outside.cloudflare.close()


@pytest.fixture(scope="session")
def inits() -> dict[str, tuple[bytes, bytes]]:
    """See `Workplace.initialised`."""
    return {}


@pytest.fixture
def own_plugins(
    inits: dict[str, tuple[bytes, bytes]],
    outside: Outside,
    sandbox: Sandbox,
    pulumi_home: Path,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workplace]:
    """A project whose engines start their own plugins. At the end nothing of it may run, and
    nothing lie in the folder for temporary files."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    directory = tmp_path / "project"
    make_project(directory)
    given = sandbox.environment() | {
        "CLAWDET_PROJECT": str(directory),
        "PULUMI_HOME": str(pulumi_home),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
    }
    place = Workplace(directory, given, engine, inits)
    with without_leaks_of_the_sdk():
        yield place
    for process in place.started:
        process.kill()
        process.communicate()
    assert [path.name for path in temporary.iterdir()] == []
    assert place.processes() == []


@pytest.fixture
def place(own_plugins: Workplace, shared_plugins: str) -> Workplace:
    """A project whose engines share the session's plugin servers: quicker."""
    given = own_plugins.given | {"PULUMI_DEBUG_PROVIDERS": shared_plugins}
    return replace(own_plugins, given=given)


@pytest.fixture
def stacks(place: Workplace) -> Stacks:
    """The operations of `place`."""
    return place.stacks()
