import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.clouds import cloudflare
from sandbox.clouds.world import World
from sandbox.processes import run_module
from tests.sandbox.clouds.live import Live, close_world, open_world
from tests.sandbox.edge.origins import Origins, free_port, make_key, tls_context

CONNECT_S = 3.0
ANSWER_S = 4.0
_numbers = itertools.count(1)


@dataclass
class Setup:
    """A running edge, the Cloudflare API that it asks, and servers for it to reach."""

    world: World
    live: Live
    port: int
    https_port: int
    http_port: int
    origins: Origins
    scratch: Path
    names: Iterator[int] = field(default=_numbers)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the Cloudflare API; its `result`."""
        token = self.world.credentials.cloudflare_token
        url = f"{self.live.url}/client/v4{path}"
        answer = httpx.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def admin(self, method: str, path: str, body: Any = None) -> None:
        """Ask the sandbox's admin API."""
        answer = httpx.request(method, f"{self.live.url}/admin{path}", json=body)
        assert answer.is_success, answer.text

    @property
    def zone(self) -> str:
        return f"/zones/{self.world.credentials.cloudflare_zone_id}"

    def ssl_mode(self, mode: str) -> None:
        self.api("PATCH", f"{self.zone}/settings/ssl", {"value": mode})

    def name(self, **changes: Any) -> tuple[str, str]:
        """A new name with a proxied record for a new loopback address: both of them."""
        number = next(self.names)
        name, address = f"u{number}.clawdet.com", f"127.83.{number // 250}.{number % 250 + 1}"
        record = {"type": "A", "name": name, "content": address, "proxied": True}
        self.api("POST", f"{self.zone}/dns_records", record | changes)
        return name, address

    def certificate(self, name: str) -> dict[str, Any]:
        """A new certificate of the Origin CA; its key is `self.key`."""
        self.key, csr = make_key(self.scratch)
        asked = {"csr": csr, "hostnames": [name], "request_type": "origin-ecc"}
        ordered: dict[str, Any] = self.api("POST", "/certificates", asked)
        return ordered

    def site(self, name_on_certificate: str | None = None) -> str:
        """A name whose server answers with a certificate of the Origin CA."""
        name, address = self.name()
        ordered = self.certificate(name_on_certificate or name)
        context = tls_context(ordered["certificate"], self.key)
        self.origins.serve(address, self.https_port, context)
        return name

    def authority(self, name: str) -> str:
        """What a browser's address bar would hold for `name`."""
        return f"{name.removesuffix('.com')}.localhost:{self.port}"

    def get(self, name: str, path: str = "/", **options: Any) -> httpx.Response:
        return self.request("GET", name, path, **options)

    def request(self, method: str, name: str, path: str = "/", **options: Any) -> httpx.Response:
        headers = {"Host": self.authority(name)} | options.pop("headers", {})
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, headers=headers, timeout=60, **options)


@pytest.fixture(scope="session")
def _edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    directory = tmp_path_factory.mktemp("edge")
    world = open_world(directory)
    live = Live(world, {"/client/v4": cloudflare.blueprint})
    https_port, http_port = free_port(), free_port()
    command, environment = run_module(
        "sandbox.edge",
        *("--dir", str(directory), "--clouds-url", live.url),
        *("--https-port", str(https_port), "--http-port", str(http_port)),
        *("--connect-seconds", str(CONNECT_S), "--answer-seconds", str(ANSWER_S)),
    )
    origins = Origins()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["ready"]["port"]
        scratch = tmp_path_factory.mktemp("origins")
        yield Setup(world, live, port, https_port, http_port, origins, scratch)
        process.terminate()
        assert process.wait(90) == 0
    origins.close()
    live.close()
    close_world(world)


@pytest.fixture
def edge(_edge: Setup) -> Iterator[Setup]:
    """The edge with SSL mode strict."""
    yield _edge
    if _edge.api("GET", f"{_edge.zone}/settings/ssl")["value"] != "strict":
        _edge.ssl_mode("strict")
        eventually(lambda: True, after_s=0.6)
    _edge.origins.go_on.clear()
    _edge.origins.seen.clear()


def eventually(check: Callable[[], bool], *, after_s: float = 0.0, within_s: float = 60.0) -> None:
    """Wait until `check` holds; the edge may use an answer of the API for half a second."""
    time.sleep(after_s)
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
