"""One stack of the project as the Automation API sees it: workspace, settings file, state."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import yaml
from pulumi.automation import CommandResult, LocalWorkspace, Stack
from pulumi.automation import errors as sdk
from pulumi.automation._stack import UpdateSummary
from semver import VersionInfo

from stacks import failures, state_files
from stacks.command import EngineCommand
from stacks.engine import Engine
from stacks.errors import AlreadyThere, OperationFailed, UsageError
from stacks.program import start_loading
from stacks.settings import CHECKOUT, Settings
from stacks.spec import Secrets, StackConfig

PROJECT = "clawdet"
SECRETS_KEY = f"{PROJECT}:secrets"


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
        self.command = EngineCommand(engine.path, VersionInfo.parse(engine.version), name)
        self._environment = {
            "PULUMI_CONFIG_PASSPHRASE": settings.passphrase(),
            "PULUMI_BACKEND_URL": settings.backend_url,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # Adoption (`pulumi import`) asks for the language host, which may be there.
            "PATH": os.pathsep.join(
                [str(settings.pulumi_home.resolve() / "bin"), os.environ.get("PATH", os.defpath)]
            ),
        }
        if debug_providers:
            self._environment["PULUMI_DEBUG_PROVIDERS"] = debug_providers

    @property
    def home(self) -> Path:
        """The PULUMI_HOME of this stack's engines."""
        return self._settings.state_dir / "homes" / self.name

    @property
    def settings_file(self) -> Path:
        """The stack's settings file, where plain `pulumi` looks for it too."""
        return self._settings.state_dir / "stacks" / f"Pulumi.{self.name}.yaml"

    def check_exists(self) -> None:
        """UnknownStack if the state's folder has no such stack; other backends say so later."""
        if self._state_file and not self._state_file.exists():
            raise failures.unknown(self.name)

    def mend_files(self) -> None:
        """Remove from the state's folder what a killed engine left half written."""
        if self._files:
            state_files.mend(self._files, PROJECT, self.name)

    def automation(self) -> EngineStack:
        """The stack for the Automation API, running the project's program inline."""
        return EngineStack(self.name, self._workspace(start_loading()))

    def run(self, *arguments: str, stdin: str | None = None) -> CommandResult:
        """Run a plain CLI command on this stack. Raises StackError."""
        workspace = self._workspace(None)
        environment = {"PULUMI_HOME": str(workspace.pulumi_home), **workspace.env_vars}
        try:
            return self.command.run(
                [*arguments, "--stack", self.name], workspace.work_dir, environment, stdin=stdin
            )
        except sdk.CommandError as error:
            raise failures.translate(error, self.name) from error

    def create(self) -> None:
        """Make the stack in the backend; one that an earlier try left empty will do."""
        self.settings_file.parent.mkdir(parents=True, exist_ok=True)
        if self._files:
            self._files.mkdir(parents=True, exist_ok=True)
        try:
            self.run("stack", "init", "--no-select")
        except AlreadyThere:
            if self.plain_value("secrets") or self.deployment().get("resources"):
                raise

    def remove(self) -> None:
        """Forget the stack: state, back-ups, history, settings file, logs. It must be empty."""
        self.run("stack", "rm", "--yes", "--remove-backups")
        self.settings_file.unlink(missing_ok=True)
        shutil.rmtree(self.home)

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
        if self._state_file is None:
            return dict(self.export()["deployment"])
        self.check_exists()
        return dict(json.loads(self._state_file.read_text())["checkpoint"].get("latest") or {})

    def export(self) -> dict[str, Any]:
        """`pulumi stack export`: a versioned document, secrets still encrypted."""
        return dict(json.loads(self.run("stack", "export").stdout))

    def import_(self, document: dict[str, Any]) -> None:
        """`pulumi stack import`. Raises UsageError if it is no state of this stack."""
        try:
            self.run("stack", "import", stdin=json.dumps(document))
        except OperationFailed as error:
            raise UsageError(
                f"that is no state of {self.name}: {error}", "give what export printed for it"
            ) from error

    @property
    def _files(self) -> Path | None:
        """The state backend's folder, None if it is another kind of backend."""
        backend = urlparse(self._settings.backend_url)
        plain = backend.scheme == "file" and not backend.netloc
        return Path(unquote(backend.path)) if plain else None

    @property
    def _state_file(self) -> Path | None:
        folder = self._files
        return folder / ".pulumi" / "stacks" / PROJECT / f"{self.name}.json" if folder else None

    def _settings_document(self) -> dict[str, Any]:
        if not self.settings_file.exists():
            return {}
        return dict(yaml.safe_load(self.settings_file.read_text()) or {})

    def _workspace(self, program: Callable[[], None] | None) -> LocalWorkspace:
        self.home.mkdir(parents=True, exist_ok=True)
        plugins = self.home / "plugins"
        if not plugins.is_symlink():
            (self._settings.pulumi_home / "plugins").mkdir(parents=True, exist_ok=True)
            plugins.symlink_to((self._settings.pulumi_home / "plugins").resolve())
        return LocalWorkspace(
            work_dir=str(self._settings.clawdet_project),
            pulumi_home=str(self.home),
            program=program,
            env_vars=self._environment,
            pulumi_command=self.command,
        )
