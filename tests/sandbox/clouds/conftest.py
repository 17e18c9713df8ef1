from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hcloud import Client

from sandbox.clouds import hetzner
from sandbox.clouds.world import World
from tests.sandbox.clouds.live import (
    Answer,
    Company,
    Live,
    call,
    client_of,
    close_world,
    open_world,
)

Serve = Callable[[dict[str, Company]], Live]
Admin = Callable[..., Answer]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = open_world(tmp_path)
    yield world
    close_world(world)


@pytest.fixture
def serve(world: World) -> Iterator[Serve]:
    """Serves companies by URL prefix until the test ends."""
    running: list[Live] = []

    def start(companies: dict[str, Company]) -> Live:
        running.append(Live(world, companies))
        return running[-1]

    yield start
    for live in running:
        live.close()


@pytest.fixture
def live(serve: Serve) -> Live:
    """Hetzner on a free port."""
    return serve({"/v1": hetzner.blueprint})


@pytest.fixture
def client(live: Live) -> Client:
    return client_of(live)


@pytest.fixture
def admin(live: Live) -> Admin:
    """Calls the admin API: admin("PUT", "/hetzner/stock", {...})."""

    def ask(method: str, path: str, body: Any = None) -> Answer:
        return call(live.url, method, f"/admin{path}", body)

    return ask
