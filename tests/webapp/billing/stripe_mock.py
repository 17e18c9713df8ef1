"""Stripe's own stripe-mock: a server that holds requests against Stripe's OpenAPI description.

https://github.com/stripe/stripe-mock. It keeps no state and answers fixtures; a parameter that
the description does not know is answered with 400. Names in `expand` are not looked at.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from stacks.fetching import cache_dir, exclusive, run_watched, unreachable

VERSION = "v0.203.0"
MODULE = "github.com/stripe/stripe-mock"
PROGRAM, DESCRIPTION = "stripe-mock", "openapi.json"
BUILD_TIMEOUT_S = 240.0
ANSWER_TIMEOUT_S = 60.0

Found = TypeVar("Found")

_LISTENS = re.compile(r"^Listening for HTTP at address: (\S+)$", re.MULTILINE)
_REQUEST = re.compile(r"^Request: (\S+ \S+)$", re.MULTILINE)
_STATUS = re.compile(r"^Response: .*status=(\d+)$", re.MULTILINE)


class NotBuilt(Exception):
    """This machine has no stripe-mock and cannot make one; the text says why."""


class StripeMock:
    """A running stripe-mock. `url` is where it answers."""

    def __init__(self, child: "subprocess.Popen[bytes]", log: Path) -> None:
        self._child = child
        self._log = log
        self._seen = 0
        self.url = f"http://{self._wait_for(_LISTENS.search).group(1)}"

    def said(self) -> str:
        """All that it has written, with the reason of every refusal."""
        return self._log.read_text()

    def answers(self) -> list[str]:
        """Requests since the last time this was asked, such as "GET /v1/events 200"."""
        asked, statuses = self._wait_for(self._settled)
        fresh = [f"{one} {status}" for one, status in zip(asked, statuses, strict=True)]
        self._seen, seen = len(fresh), self._seen
        return fresh[seen:]

    def _settled(self, said: str) -> tuple[list[str], list[str]] | None:
        """Requests and statuses; None while an answer is not written down yet."""
        asked, statuses = _REQUEST.findall(said), _STATUS.findall(said)
        return (asked, statuses) if len(asked) == len(statuses) else None

    def _wait_for(self, find: Callable[[str], Found | None]) -> Found:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while time.monotonic() < deadline and self._child.poll() is None:
            if (found := find(self.said())) is not None:
                return found
            time.sleep(0.02)
        raise AssertionError(f"stripe-mock has ended or is silent:\n{self.said()}")


def find_or_build() -> Path:
    """The folder of the program and its description, made once in Clawdet's cache.

    Two at once: the second waits for the first. Raises NotBuilt without Go, without a module
    proxy, or when the build fails.
    """
    tools = cache_dir() / "tools"
    home = tools / f"stripe-mock-{VERSION}"
    if home.exists():
        return home
    with exclusive(tools / f"{home.name}.lock", lambda: None):
        if not home.exists():
            _build(home)
    return home


@contextmanager
def running(home: Path, folder: Path) -> Iterator[StripeMock]:
    """A stripe-mock on a free loopback port, stopped at the end; its log is in `folder`."""
    log = folder / "stripe-mock.log"
    # HTTPS would otherwise be on a fixed port of every interface.
    addresses = ["-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"]
    argv = [str(home / PROGRAM), "-spec", str(home / DESCRIPTION), *addresses]
    with (
        log.open("wb") as output,
        subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT) as child,
    ):
        try:
            yield StripeMock(child, log)
        finally:
            child.terminate()


def _build(home: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise NotBuilt("no Go on PATH to build stripe-mock with")
    proxy = re.split("[,|]", _go_env(go, "GOPROXY"))[0]
    if proxy.startswith("http") and (reason := unreachable(proxy)):
        raise NotBuilt(f"no Go module proxy for stripe-mock: {reason}")
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        made = Path(folder) / "made"
        outcome = run_watched(
            [go, "install", f"{MODULE}@{VERSION}"], cwd=Path(folder),
            env={**os.environ, "GOBIN": str(made), "GOFLAGS": "-mod=mod"},
            timeout_s=BUILD_TIMEOUT_S, on_line=lambda _: None, on_tick=lambda _: None,
        )  # fmt: skip
        if not outcome.ok:
            raise NotBuilt(f"stripe-mock was not built: {outcome.reason}")
        source = Path(_go_env(go, "GOMODCACHE")) / f"{MODULE}@{VERSION}"
        (made / DESCRIPTION).write_text(
            _strict((source / "embedded" / "openapi" / "spec3.json").read_text())
        )
        made.rename(home)


def _go_env(go: str, name: str) -> str:
    asked = subprocess.run([go, "env", name], capture_output=True, text=True, check=True)
    return asked.stdout.strip()


def _strict(description: str) -> str:
    """Stripe's description, with no unknown parameter anywhere; it forbids them at the top only."""
    described = json.loads(description)
    for path in described["paths"].values():
        for operation in path.values():
            _forbid_others(operation.get("requestBody"))
            _forbid_others(operation.get("parameters"))
    return json.dumps(described)


def _forbid_others(schema: Any) -> None:
    if isinstance(schema, list):
        for below in schema:
            _forbid_others(below)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            schema.setdefault("additionalProperties", False)
        for below in schema.values():
            _forbid_others(below)
