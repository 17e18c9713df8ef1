"""A shell with nothing of ours in it, and a sandbox for what is given to the processes."""

from collections.abc import Iterator

import pytest

from local.environment import CREDENTIALS
from sandbox.supervisor import Sandbox
from stacks.settings import Settings
from webapp.settings import WebSettings


@pytest.fixture(autouse=True)
def bare_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that people and the tests' runner may have set are not."""
    names = {name.upper() for name in (*Settings.model_fields, *WebSettings.model_fields)}
    for name in names | set(CREDENTIALS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The companies; servers exist in the API only."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox"), machines="api-only") as running:
        yield running
