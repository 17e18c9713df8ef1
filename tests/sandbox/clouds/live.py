"""A cloud on a real port, and a plain HTTP client for what the official ones cannot send.

Run as a module with a directory, it serves Hetzner from there, prints its URL, and lasts until it
is killed.
"""

import http.client
import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import waitress
from flask import Blueprint, Flask
from hcloud import Client
from waitress import wasyncore

from sandbox.clouds import admin, faults, hetzner
from sandbox.clouds.store import Store
from sandbox.clouds.world import Credentials, World
from sandbox.machines.api_only import ApiOnlyMachines

Company = Callable[[World], Blueprint]


def open_world(directory: Path) -> World:
    """A world in `directory`, new or as an earlier one left it, with machines in the API only."""
    return World(
        store=Store(directory / "clouds.sqlite"),
        machines=ApiOnlyMachines(directory / "machines"),
        credentials=Credentials.load_or_make(directory / "credentials.json"),
        directory=directory,
    )


def close_world(world: World) -> None:
    world.machines.close()
    world.store.close()


class Live:
    """Companies by URL prefix, with faults and admin, on a free loopback port until `close`."""

    def __init__(self, world: World, companies: Mapping[str, Company]) -> None:
        self.world = world
        self.app = Flask("clouds", static_folder=None)
        faults.install(self.app, world)
        for prefix, company in companies.items():
            self.app.register_blueprint(company(world), url_prefix=prefix)
        self.app.register_blueprint(admin.blueprint(world), url_prefix="/admin")
        self._sockets: dict[int, Any] = {}
        self._server = waitress.create_server(
            self.app, map=self._sockets, host="127.0.0.1", port=0, threads=16
        )
        self.url = f"http://127.0.0.1:{self._server.effective_port}"
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="live")
        self._thread.start()

    def close(self) -> None:
        if hetzner.NAME in self.app.extensions:
            assert hetzner.close(self.app)
        self._ending = True
        self._server.pull_trigger()
        self._thread.join()
        self._server.task_dispatcher.shutdown()
        wasyncore.close_all(self._sockets)

    def _serve(self) -> None:
        while not self._ending:
            wasyncore.loop(timeout=1, map=self._sockets, count=1)


def client_of(live: Live, **changes: Any) -> Client:
    """The official client for a live Hetzner, quick to poll."""
    settings: dict[str, Any] = {
        "token": live.world.credentials.hetzner_token,
        "api_endpoint": f"{live.url}/v1",
        "poll_interval": 0.01,
        "timeout": 10,
    }
    return Client(**settings | changes)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def call(url: str, method: str, path: str, body: Any = None, token: str | None = None) -> Answer:
    """One request; `body` as JSON, or as it is when it is bytes."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def main() -> None:
    live = Live(open_world(Path(sys.argv[1])), {"/v1": hetzner.blueprint})
    print(live.url, flush=True)


if __name__ == "__main__":
    main()
