"""The engine, the plugins and the sandbox's clouds for the tests here."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.clouds import cloudflare, hetzner
from sandbox.plugins.install import install
from stacks.engine import find
from stacks.fetching import cache_dir
from tests.leaks import without_leaks_of_the_sdk
from tests.sandbox.clouds.live import Live, close_world, open_world
from tests.sandbox.plugins import ssh_server
from tests.sandbox.plugins.bench import Bench, Clouds
from tests.sandbox.plugins.ssh_server import SshServer

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def engine() -> Path:
    """The Pulumi CLI that `make setup` installed."""
    found = find(cache_dir())
    if found is None:
        pytest.fail("the Pulumi engine is missing: run `make setup`")
    return found.path


@pytest.fixture(scope="session")
def pulumi_home(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PULUMI_HOME with the stand-in plugins, and the engine beside the language host."""
    home = tmp_path_factory.mktemp("pulumi-home")
    install(home)
    try:
        (home / "bin" / "pulumi").hardlink_to(engine.resolve())
    except OSError:  # another file system
        shutil.copy2(engine, home / "bin" / "pulumi")
    return home


@pytest.fixture(scope="session")
def attached() -> Iterator[str]:
    """All three plugins in one running process; the value for PULUMI_DEBUG_PROVIDERS."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.plugins", "serve", "all"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    assert process.wait(90) == 0
    process.stdout.close()


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[Clouds]:
    """The sandbox's clouds on a free port, with servers that exist in the API only."""
    yield from _clouds(tmp_path / "clouds")


@pytest.fixture
def other_clouds(tmp_path: Path) -> Iterator[Clouds]:
    """A second, independent set of clouds."""
    yield from _clouds(tmp_path / "other-clouds")


def _clouds(directory: Path) -> Iterator[Clouds]:
    world = open_world(directory)
    live = Live(world, {"/v1": hetzner.blueprint, "/client/v4": cloudflare.blueprint})
    yield Clouds(live.url, world.credentials)
    live.close()
    close_world(world)


@pytest.fixture
def bench(pulumi_home: Path, attached: str, tmp_path: Path) -> Iterator[Bench]:
    """Stacks of this test, their engines attached to the running plugins."""
    with without_leaks_of_the_sdk():
        yield Bench(pulumi_home, tmp_path / "state", {"PULUMI_DEBUG_PROVIDERS": attached})


@pytest.fixture
def own_plugins_bench(pulumi_home: Path, tmp_path: Path) -> Iterator[Bench]:
    """Stacks of this test whose engines start the plugins themselves."""
    with without_leaks_of_the_sdk():
        yield Bench(pulumi_home, tmp_path / "state", {})


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A real OpenSSH server."""
    server, process = ssh_server.start(tmp_path_factory.mktemp("sshd"))
    yield server
    process.terminate()
    process.wait(90)
