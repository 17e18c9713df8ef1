"""The operations on stacks, as the worker holds them: plugins that stay warm, an end on request."""

import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import structlog

from stacks import outside
from stacks.engine import Engine
from stacks.errors import AlreadyThere, StackError, UnknownStack, UsageError
from stacks.events import Change, PropertyChange
from stacks.operations import Finding, OnProgress, Result, Stacks
from stacks.provider_servers import provider_servers
from stacks.settings import Settings

REQUIRED = (
    "hetzner_api_token", "cloudflare_api_token", "cloudflare_zone_id", "anthropic_api_key",
)  # fmt: skip
WAIT_S = 10.0  # an operator's command on the same stack may end meanwhile
CHECK_S = 180.0  # a record has to be seen at the edge, a gateway to start
PROBE_S = 2.0
POLL_S = 0.2

log = structlog.get_logger("orchestrator")


@dataclass(frozen=True)
class Seen:
    """An instance as its stack's outputs and secrets have it; `gateway_ms` as it answered."""

    server_id: str
    ipv4: str
    location: str
    release: str
    gateway_token: str
    gateway_ms: int | None


class Orchestrator:
    """`stacks` for the worker's life. Use it as a context: the provider plugins run within.

    `install`: False only where servers exist in the API alone, so that nothing can be installed
    on them and nobody answers: then there is no install and no check from outside. It is for
    tests of everything else; no setting leads here.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        engine: Engine | None = None,
        *,
        install: bool = True,
    ) -> None:
        self.settings = settings or Settings.read()
        self._engine = engine
        self._install = install
        self._plugins = ExitStack()
        self._stacks: Stacks | None = None
        self._ports: tuple[int, ...] = ()
        self._making = threading.Lock()
        self._busy: set[str] = set()
        self.stopping = threading.Event()
        """Set when the worker is to end: what is interrupted then will be run again."""

    def __enter__(self) -> "Orchestrator":
        self.stopping.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._close_plugins()

    def check(self) -> None:
        """Raise UsageError naming every setting that is missing."""
        self.settings.require(*REQUIRED)
        self.settings.passphrase()

    # -- one instance ----------------------------------------------------------------------

    def begin(self, slug: str) -> None:
        """Say that the instance is being worked on, so that `stop` interrupts it."""
        with self._making:
            self._busy.add(slug)

    def end(self, slug: str) -> None:
        """Say that it is not any more."""
        with self._making:
            self._busy.discard(slug)
            if not self._busy:  # plugins take 50 MB, and a second to start
                self._close_plugins()

    def prepare(self, slug: str) -> None:
        """A stack with today's settings, there or made now."""
        try:
            self.stacks.configure(slug, install=self._install)
        except UnknownStack:
            self._init(slug)
        except UsageError:
            # A stack whose making was cut short has no configuration that could be renewed.
            try:
                self._init(slug)
            except AlreadyThere:
                self.stacks.configure(slug, install=self._install)

    def _init(self, slug: str) -> None:
        self.stacks.init(slug, install=self._install)

    def look(self, slug: str) -> Seen:
        """What the stack made, after the check from outside. Raises CheckFailed."""
        token = self.stacks.secrets(slug).gateway_token
        found = self.stacks.outputs(slug)
        return Seen(
            server_id=str(found.get("serverId", "")),
            ipv4=str(found.get("ipv4", "")),
            location=str(found.get("location", "")),
            release=str(found.get("release", "")),
            gateway_token=token,
            gateway_ms=self._check(slug, token),
        )

    def _check(self, slug: str, token: str) -> int | None:
        if not self._install:
            return None
        url = self.settings.instance_url(slug)
        checks = outside.check_instance(url, slug, token, CHECK_S)
        return round(1000 * checks[-1].seconds)

    def power(self, slug: str, on: bool) -> bool:
        """Switch the server on or off; False if there is nothing to switch."""
        status = self.status(slug)
        if status is None:
            return False
        if (status == "running") != on or status not in ("running", "off"):
            self.stacks.power(slug, on)
        return True

    def status(self, slug: str) -> str | None:
        """Hetzner's word on the server; None if there is none."""
        try:
            return self._looking.server_status(slug)
        except UnknownStack:
            return None

    def backup(self, slug: str) -> str:
        """The id of the final snapshot; "" if there is no server."""
        try:
            return self.stacks.backup(slug)
        except UnknownStack:
            return ""

    def delete_backup(self, image_id: str) -> None:
        """Delete a final backup for good; done if it is gone."""
        self._looking.delete_backup(image_id)

    def destroy(self, slug: str, on_progress: OnProgress) -> None:
        """Remove everything the stack made, then the stack; nothing if there is no such stack."""
        try:
            self.stacks.destroy(slug, on_progress)
            self.stacks.remove(slug)
        except UnknownStack:
            log.info("stack_gone", slug=slug)

    # -- all of them -----------------------------------------------------------------------

    def sweep(self) -> dict[str, list[Finding]]:
        """Differences between clouds and states by slug; orphans under ""."""
        return self._looking.sweep()

    def capacity(self) -> dict[str, bool]:
        """Whether each location has a server in stock."""
        return self._looking.capacity()

    def stop(self) -> None:
        """Interrupt what runs, which will be run again; return when nothing does."""
        self.stopping.set()
        while self._busy:
            for slug in list(self._busy):
                if self._looking.holder(slug):
                    self.cancel(slug)
            time.sleep(POLL_S)

    def cancel(self, slug: str) -> None:
        """Interrupt the instance's operation and return when it is over."""
        try:
            log.info("cancelled", slug=slug, said=self._looking.cancel(slug))
        except StackError as error:
            log.warning("cancel_failed", slug=slug, error=str(error))

    # -- how -------------------------------------------------------------------------------

    @property
    def stacks(self) -> Stacks:
        """The façade, attached to plugins that answer."""
        with self._making:
            if self._stacks is None or not all(map(_answers, self._ports)):
                self._close_plugins()
                self._stacks = self._make()
            return self._stacks

    @cached_property
    def _looking(self) -> Stacks:
        """The façade for what needs no plugin."""
        return Stacks(self.settings, self._engine, self.settings.pulumi_debug_providers, WAIT_S)

    def _make(self) -> Stacks:
        given = self.settings.pulumi_debug_providers
        if not given:
            given = self._plugins.enter_context(provider_servers(self.settings.pulumi_home))
            self._ports = tuple(int(one.rpartition(":")[2]) for one in given.split(",") if one)
        return Stacks(self.settings, self._engine, given, WAIT_S)

    def _close_plugins(self) -> None:
        self._stacks, self._ports = None, ()
        self._plugins.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PROBE_S).close()
    except OSError:
        return False
    return True


Changes = list[dict[str, Any]]


def changes_of(result: Result) -> Changes:
    """A result's changes, for a column of JSON."""
    return [
        {
            "type": change.type,
            "name": change.name,
            "op": change.op,
            "properties": [
                {"path": p.path, "kind": p.kind, "before": p.before, "after": p.after}
                for p in change.properties
            ],
        }
        for change in result.changes
    ]


def changes_from(kept: Changes) -> tuple[Change, ...]:
    """Changes out of a column of JSON. Their URNs were not kept."""
    return tuple(
        Change(
            urn="",
            type=one["type"],
            name=one["name"],
            op=one["op"],
            properties=tuple(PropertyChange(**each) for each in one["properties"]),
        )
        for one in kept
    )
