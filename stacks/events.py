"""Engine events, made into progress, a readable diff and a result."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pulumi.automation.events import EngineEvent, OpType, StepEventMetadata

Phase = Literal["creating_vps", "configuring_dns", "installing", ""]

STACK_TYPE = "pulumi:pulumi:Stack"
SERVER_TYPE = "hcloud:index/server:Server"
RECORD_TYPE = "cloudflare:index/dnsRecord:DnsRecord"
CERTIFICATE_TYPE = "cloudflare:index/originCaCertificate:OriginCaCertificate"

PHASES: dict[str, Phase] = {
    SERVER_TYPE: "creating_vps",
    RECORD_TYPE: "configuring_dns",
    CERTIFICATE_TYPE: "configuring_dns",
    "command:local:Command": "installing",
    "command:remote:Command": "installing",
    "command:remote:CopyToRemote": "installing",
}

QUIET = {OpType.SAME, OpType.READ, OpType.REFRESH}


@dataclass(frozen=True)
class Progress:
    """One thing that happened; a caller gets one per line, in order, and may store it as it is.

    `phase`: the step as the API shows it, "" for what belongs to none (components, providers).
    `resource`: its name in the program (server, record, configure, …), "" for none in particular.
    `op`: Pulumi's word (create, update, replace, …), "" where `state` is said.
    `state`: started, done, failed, or said: a log line of the engine or an install step in `text`.
    `elapsed_s`: seconds since this resource's step began. `at`: seconds since the epoch.

    No secret is ever in it: the engine hides them, and install steps get theirs over stdin.
    """

    phase: Phase
    resource: str
    op: str
    state: Literal["started", "done", "failed", "said"]
    elapsed_s: float
    text: str = ""
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class PropertyChange:
    """One property before and after; secrets are shown as "[secret]" by the engine."""

    path: str
    kind: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """What happens, or happened, to one resource. `op` is Pulumi's: create, update, replace, …"""

    urn: str
    type: str
    name: str
    op: str
    properties: tuple[PropertyChange, ...] = ()


@dataclass
class Recorder:
    """Listens to one operation's events. Give `on_event` to the Automation API.

    `changes`: what the program asks for. `drift`: what a refresh found in the clouds: an update or
    a delete that somebody else made. `counts`: the engine's own summary.
    """

    on_progress: Callable[[Progress], None] = lambda _progress: None
    changes: list[Change] = field(default_factory=list)
    drift: list[Change] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)
    _refreshing: set[str] = field(default_factory=set)

    def on_event(self, event: EngineEvent) -> None:
        """Take one event in; called by the SDK's thread, in order."""
        if event.resource_pre_event:
            self._step_begins(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            self._step_ends(event.res_outputs_event.metadata)
        elif event.res_op_failed_event:
            self._step_fails(event.res_op_failed_event.metadata)
        elif event.diagnostic_event:
            self._diagnostic(event.diagnostic_event)
        elif event.summary_event:
            changes = event.summary_event.resource_changes or {}
            self.counts = {str(getattr(k, "value", k)): v for k, v in changes.items()}

    def _step_begins(self, step: StepEventMetadata) -> None:
        if step.op == OpType.REFRESH:
            self._refreshing.add(step.urn)
        if step.op in QUIET:
            return
        self.changes.append(to_change(step))
        self._started[step.urn] = time.monotonic()
        self._tell(step, "started")

    def _step_ends(self, step: StepEventMetadata) -> None:
        if step.type == STACK_TYPE and step.new and step.new.outputs:
            self.outputs = dict(step.new.outputs)
        if step.urn in self._refreshing:
            self._refreshing.remove(step.urn)
            self._refreshed(step)
        elif step.op not in QUIET:
            self._tell(step, "done")

    def _refreshed(self, step: StepEventMetadata) -> None:
        found = to_change(step)
        if step.new is None:
            self.drift.append(replace(found, op="delete"))
        elif found.properties:
            self.drift.append(replace(found, op="update"))

    def _step_fails(self, step: StepEventMetadata) -> None:
        self.failed.append(name_of(step.urn))
        self._tell(step, "failed")

    def _diagnostic(self, event: Any) -> None:
        text = without_values((event.message or "").strip())
        if not text:
            return
        if event.severity == "error":
            self.errors.append(text)
        if event.severity in ("info", "info#err", "warning", "error"):
            name = name_of(event.urn) if event.urn else ""
            self.on_progress(Progress(_phase(event.urn), name, "", "said", 0.0, text))

    def _tell(self, step: StepEventMetadata, state: Literal["started", "done", "failed"]) -> None:
        began = self._started.get(step.urn, time.monotonic())
        self.on_progress(
            Progress(
                PHASES.get(step.type, ""),
                name_of(step.urn),
                _op(step),
                state,
                time.monotonic() - began,
            )
        )


def to_change(step: StepEventMetadata) -> Change:
    """A step of the engine as a change, property by property."""
    old: Mapping[str, Any] = (step.old.inputs if step.old else None) or {}
    new: Mapping[str, Any] = (step.new.inputs if step.new else None) or {}
    if step.op in (OpType.REFRESH, OpType.UPDATE) and step.old and step.new:
        # A refresh finds differences in outputs; inputs are what was asked for.
        old = {**old, **(step.old.outputs or {})}
        new = {**new, **(step.new.outputs or {})}
    properties = tuple(
        PropertyChange(
            path,
            str(getattr(diff.diff_kind, "value", diff.diff_kind)),
            lookup(old, path),
            lookup(new, path),
        )
        for path, diff in sorted((step.detailed_diff or {}).items())
    )
    return Change(step.urn, step.type, name_of(step.urn), _op(step), properties)


def without_values(text: str) -> str:
    """The engine's words on a secret that its provider rejects, without the secret itself.

    It hides secrets as "[secret]" everywhere else.
    """
    return re.sub(r" value \{&\{.*?\}\} has a problem", " has a problem", text, flags=re.DOTALL)


def lookup(values: Any, path: str) -> Any:
    """The value at a property path such as `labels.env` or `rules[0].port`; None if absent."""
    for part in path.replace("[", ".").replace("]", "").split("."):
        key = part.strip('"')
        if isinstance(values, Mapping):
            values = values.get(key)
        elif isinstance(values, list) and key.isdigit() and int(key) < len(values):
            values = values[int(key)]
        else:
            return None
    return values


def name_of(urn: str) -> str:
    """The resource's name: the last part of its URN."""
    return urn.rsplit("::", 1)[-1]


def _phase(urn: str | None) -> Phase:
    kind = urn.split("::")[2].split("$")[-1] if urn and urn.count("::") >= 3 else ""
    return PHASES.get(kind, "")


def _op(step: StepEventMetadata) -> str:
    return str(getattr(step.op, "value", step.op))
