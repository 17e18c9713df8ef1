"""One stack of the project as the Automation API sees it: workspace, settings file, state."""

import json
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml
from pulumi.automation import CommandResult, LocalWorkspace, Stack
from pulumi.automation import errors as sdk
from pulumi.automation._stack import UpdateSummary
from semver import VersionInfo

from stacks.command import EngineCommand
from stacks.engine import Engine
from stacks.errors import UnknownStack, UsageError
from stacks.settings import CHECKOUT, Settings
from stacks.spec import Secrets, StackConfig

PROJECT = "clawdet"
SECRETS_KEY = f"{PROJECT}:secrets"

_warm = threading.Lock()


def load_program() -> Callable[[], None]:
    """The program, with every SDK module that it uses imported.

    The SDK packages import lazily, and first uses from several threads at once break each other.
    """
    with _warm:
        import pulumi_cloudflare
        import pulumi_command
        import pulumi_hcloud

        from infra.program import program

        for touched in (
            pulumi_cloudflare.DnsRecord,
            pulumi_cloudflare.OriginCaCertificate,
            pulumi_cloudflare.Provider,
            pulumi_hcloud.Server,
            pulumi_hcloud.Provider,
            pulumi_command.local.Command,
            pulumi_command.remote.Command,
            pulumi_command.remote.CopyToRemote,
            pulumi_command.remote.ConnectionArgs,
        ):
            assert touched
        return program


def make_project(directory: Path) -> None:
    """Another project of the same program: its stacks, state and locks live in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("Pulumi.yaml", "infra"):
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(CHECKOUT / name)


class EngineStack(Stack):
    """A stack without the SDK's extra CLI runs: no select before, no history and outputs after.

    Each costs 0.3 s and more; every command names its stack, and events tell the outputs.
    """

    def __init__(self, name: str, workspace: LocalWorkspace) -> None:
        self.name = name
        self.workspace = workspace

    def outputs(self) -> dict[str, Any]:
        """Nothing: the events have them."""
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:  # noqa: ARG002 (the SDK's)
        """An empty summary: the events have it."""
        return UpdateSummary("", datetime.min, "", {}, {}, "")


class ProjectStack:
    """One stack, for one operation: its command, files and environment.

    Each operation has a PULUMI_HOME of its own sharing the plugins: the CLI writes its
    `workspace.json` there (pulumi#8186).
    """

    def __init__(
        self, settings: Settings, engine: Engine, name: str, debug_providers: str = ""
    ) -> None:
        self.name = name
        self._settings = settings
        self.command = EngineCommand(engine.path, VersionInfo.parse(engine.version))
        self._environment = {
            "PULUMI_CONFIG_PASSPHRASE": settings.passphrase(),
            "PULUMI_BACKEND_URL": settings.backend_url,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        if debug_providers:
            self._environment["PULUMI_DEBUG_PROVIDERS"] = debug_providers

    @property
    def settings_file(self) -> Path:
        """The stack's settings file, where plain `pulumi` looks for it too."""
        return self._settings.state_dir / "stacks" / f"Pulumi.{self.name}.yaml"

    def automation(self) -> EngineStack:
        """The stack for the Automation API, running the project's program inline."""
        return EngineStack(self.name, self._workspace(load_program()))

    def run(self, *arguments: str, stdin: str | None = None) -> CommandResult:
        """Run a plain CLI command on this stack."""
        workspace = self._workspace(None)
        environment = {"PULUMI_HOME": str(workspace.pulumi_home), **workspace.env_vars}
        try:
            return self.command.run(
                [*arguments, "--stack", self.name], workspace.work_dir, environment, stdin=stdin
            )
        except sdk.StackNotFoundError as error:
            raise UnknownStack(
                f"no stack {self.name!r}", f"create it: python -m stacks init {self.name}"
            ) from error

    def create(self) -> None:
        """Make the stack in the backend."""
        self.settings_file.parent.mkdir(parents=True, exist_ok=True)
        backend = urlparse(self._settings.backend_url)
        if backend.scheme == "file":
            Path(backend.path).mkdir(parents=True, exist_ok=True)
        try:
            self.run("stack", "init", "--no-select")
        except sdk.StackAlreadyExistsError as error:
            raise UsageError(
                f"stack {self.name!r} exists", f"python -m stacks configure {self.name}"
            ) from error

    def remove(self) -> None:
        """Forget the stack: state, history and settings file. It must hold no resources."""
        self.run("stack", "rm", "--yes")
        self.settings_file.unlink(missing_ok=True)

    def read_config(self) -> StackConfig:
        """The stack's configuration, secrets in the clear."""
        secrets = self.run("config", "get", SECRETS_KEY).stdout
        plain = {
            key.removeprefix(f"{PROJECT}:"): value
            for key, value in self._settings_document().get("config", {}).items()
            if key != SECRETS_KEY
        }
        return StackConfig(plain=plain, secrets=Secrets.model_validate_json(secrets))

    def write_config(self, config: StackConfig) -> None:
        """Write the settings file; the secrets reach the CLI over stdin, never as an argument."""
        self.write_plain(config.plain)
        self.run("config", "set", "--secret", SECRETS_KEY, stdin=config.secrets.model_dump_json())

    def write_plain(self, values: dict[str, Any]) -> None:
        """Set plain configuration values, leaving the others."""
        document = self._settings_document()
        document.setdefault("config", {}).update(
            {f"{PROJECT}:{key}": value for key, value in values.items()}
        )
        fresh = self.settings_file.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(document, sort_keys=True))
        fresh.replace(self.settings_file)

    def plain_value(self, key: str) -> Any:
        """One plain configuration value, None if it isn't set."""
        return self._settings_document().get("config", {}).get(f"{PROJECT}:{key}")

    def deployment(self) -> dict[str, Any]:
        """The state as stored: {"resources": […], "pending_operations": […]}; {} if none yet.

        Read from the file where the backend is one: asking the CLI costs 0.3 s.
        """
        backend = urlparse(self._settings.backend_url)
        if backend.scheme == "file":
            path = Path(backend.path, ".pulumi", "stacks", PROJECT, f"{self.name}.json")
            if not path.exists():
                raise UnknownStack(
                    f"no stack {self.name!r}", f"create it: python -m stacks init {self.name}"
                )
            return dict(json.loads(path.read_text())["checkpoint"].get("latest") or {})
        return dict(self.export()["deployment"])

    def export(self) -> dict[str, Any]:
        """`pulumi stack export`: a versioned document, secrets still encrypted."""
        return dict(json.loads(self.run("stack", "export").stdout))

    def import_(self, document: dict[str, Any]) -> None:
        """`pulumi stack import`."""
        self.run("stack", "import", stdin=json.dumps(document))

    def _settings_document(self) -> dict[str, Any]:
        if not self.settings_file.exists():
            return {}
        return dict(yaml.safe_load(self.settings_file.read_text()) or {})

    def _workspace(self, program: Callable[[], None] | None) -> LocalWorkspace:
        home = self._settings.state_dir / "homes" / self.name
        home.mkdir(parents=True, exist_ok=True)
        plugins = home / "plugins"
        if not plugins.is_symlink():
            (self._settings.pulumi_home / "plugins").mkdir(parents=True, exist_ok=True)
            plugins.symlink_to((self._settings.pulumi_home / "plugins").resolve())
        return LocalWorkspace(
            work_dir=str(self._settings.clawdet_project),
            pulumi_home=str(home),
            program=program,
            env_vars=self._environment,
            pulumi_command=self.command,
        )
