"""Runs stacks with the real engine, and reads what the sandbox's clouds were asked."""

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pulumi import automation as auto
from pulumi.automation import EngineEvent

from sandbox.clouds.world import Credentials

Json = dict[str, Any]
Request = tuple[str, str, str, Any]


class Clouds:
    """The sandbox's clouds at a URL."""

    def __init__(self, base: str, credentials: Credentials) -> None:
        self.base = base
        self.credentials = credentials
        self._seen = 0

    @property
    def zone_id(self) -> str:
        """The zone of the sandbox."""
        return self.credentials.cloudflare_zone_id

    def hetzner(self, method: str, path: str, body: Json | None = None) -> Json:
        """A request of somebody else's to Hetzner."""
        return self._call(method, f"/v1{path}", body, self.credentials.hetzner_token)

    def cloudflare(self, method: str, path: str, body: Json | None = None) -> Json:
        """A request of somebody else's to Cloudflare."""
        return self._call(method, f"/client/v4{path}", body, self.credentials.cloudflare_token)

    def fault(self, **rule: Any) -> None:
        """Add a fault (`sandbox.clouds.faults.Rule`)."""
        self._call("POST", "/admin/faults", rule)

    def requests(self) -> list[Request]:
        """Method, path, query and body since the last call; polls of actions are left out."""
        answer = self._call("GET", f"/admin/requests?since={self._seen}")
        found = answer["requests"]
        self._seen = found[-1]["number"] if found else self._seen
        return [
            (one["method"], one["path"], one["query"], one["body"])
            for one in found
            if one["path"] != "/v1/actions"
        ]

    def _call(self, method: str, path: str, body: Json | None = None, token: str = "") -> Json:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        found: Json = json.loads(text) if text else {}
        return found


@dataclass
class Ran:
    """What one operation showed."""

    events: list[EngineEvent] = field(default_factory=list)
    error: str = ""

    @property
    def steps(self) -> dict[str, str]:
        """What happens to each resource, by its type; unchanged ones are left out."""
        found = {}
        for event in self.events:
            # A refresh knows what it found only after it.
            for moment in (event.resource_pre_event, event.res_outputs_event):
                metadata = moment and moment.metadata
                if metadata and metadata.op.value not in ("same", "read", "refresh"):
                    found[metadata.type] = metadata.op.value
        return found

    @property
    def diffs(self) -> dict[str, dict[str, str]]:
        """The detailed diff of each changed resource by its type: kinds by property path."""
        found = {}
        for event in self.events:
            for moment in (event.resource_pre_event, event.res_outputs_event):
                metadata = moment and moment.metadata
                if metadata and metadata.detailed_diff:
                    found[metadata.type] = {
                        path: diff.diff_kind.value for path, diff in metadata.detailed_diff.items()
                    }
        return found

    @property
    def messages(self) -> str:
        """Every diagnostic, with lines that only passed."""
        shown = [event.diagnostic_event for event in self.events]
        return "\n".join(one.message for one in shown if one)


class Bench:
    """Stacks of one project in a file backend of their own."""

    def __init__(self, home: Path, state: Path, more: dict[str, str]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.state = state
        self.environment = {
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            **more,
        }

    def stack(self, name: str) -> "Stack":
        """A new stack."""
        project = auto.ProjectSettings(name="clawdet", runtime="python")
        options = auto.LocalWorkspaceOptions(
            pulumi_command=auto.PulumiCommand(str(self.home)),
            env_vars=self.environment,
            project_settings=project,
            pulumi_home=str(self.home),
            work_dir=str(self._directory(name)),
        )
        made = auto.create_stack(name, "clawdet", program=lambda: None, opts=options)
        return Stack(made, self.state)

    def _directory(self, name: str) -> Path:
        directory = self.state.parent / f"work-{name}"
        directory.mkdir(exist_ok=True)
        return directory


class Stack:
    """One stack and its operations."""

    def __init__(self, stack: auto.Stack, state: Path) -> None:
        self._stack = stack
        self._file = state / ".pulumi" / "stacks" / "clawdet" / f"{stack.name}.json"

    def up(self, program: Callable[[], None]) -> Ran:
        """Apply a program."""
        return self._run(lambda ran: self._stack.up(program=program, on_event=ran.events.append))

    def preview(self, program: Callable[[], None]) -> Ran:
        """What applying a program would do."""
        return self._run(
            lambda ran: self._stack.preview(program=program, on_event=ran.events.append)
        )

    def refresh(self) -> Ran:
        """Bring the state in line with the clouds."""
        return self._run(lambda ran: self._stack.refresh(on_event=ran.events.append))

    def drift(self) -> Ran:
        """What a refresh would change."""
        return self._run(lambda ran: self._stack.preview_refresh(on_event=ran.events.append))

    def destroy(self) -> Ran:
        """Delete everything."""
        return self._run(lambda ran: self._stack.destroy(on_event=ran.events.append))

    @staticmethod
    def interrupt() -> None:
        """Send the running engine what Ctrl-C sends."""
        for child in psutil.Process().children():
            if child.name() == "pulumi":
                child.send_signal(signal.SIGINT)

    @property
    def outputs(self) -> Json:
        """The stack's outputs."""
        return {name: output.value for name, output in self._stack.outputs().items()}

    @property
    def text(self) -> str:
        """The state file."""
        return self._file.read_text()

    def resource(self, type_: str) -> Json:
        """The one resource of a type, as the state file has it."""
        state = json.loads(self.text)["checkpoint"]["latest"]
        (found,) = (one for one in state.get("resources", []) if one["type"] == type_)
        resource: Json = found
        return resource

    def types(self) -> list[str]:
        """The types of everything in the state that isn't Pulumi's own."""
        resources = json.loads(self.text)["checkpoint"]["latest"].get("resources", [])
        return sorted(one["type"] for one in resources if not one["type"].startswith("pulumi:"))

    def _run(self, operation: Callable[[Ran], Any]) -> Ran:
        ran = Ran()
        try:
            operation(ran)
        except auto.CommandError as error:
            ran.error = str(error)
        return ran
