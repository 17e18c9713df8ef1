"""A project of its own for one test: its stacks, its commands, its files and its processes."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from stacks.engine import Engine
from stacks.operations import Stacks
from stacks.settings import CHECKOUT, Settings

COMMAND_S = 120.0
KEPT = ("PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR")


@dataclass(frozen=True)
class Workplace:
    """`given`: the settings as environment variables. `engine`: the one to use in this process.
    `inits`: state and settings file of every stack that a test has initialised so far."""

    directory: Path
    given: dict[str, str]
    engine: Engine
    inits: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def settings(self, **changed: Any) -> Settings:
        """The settings, some of them changed."""
        given = {name.lower(): value for name, value in self.given.items()}
        return Settings.model_validate({**given, **changed})

    def stacks(self, wait_s: float = 0.0, **changed: Any) -> Stacks:
        """The operations under these settings, some of them changed."""
        return Stacks(self.settings(**changed), self.engine, wait_s=wait_s)

    def initialised(self, *slugs: str) -> Stacks:
        """The operations, with stacks of these names that have no install and were never up.

        What `init` writes is kept for the next test that wants it: it costs most of a second.
        """
        stacks = self.stacks()
        for slug in slugs:
            files = (self.state_file(slug), self.settings_file(slug))
            if slug not in self.inits:
                stacks.init(slug, install=False)
                self.inits[slug] = (files[0].read_bytes(), files[1].read_bytes())
            for file, content in zip(files, self.inits[slug], strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return stacks

    def made(self, *slugs: str) -> Stacks:
        """The operations, with stacks of these names initialised and up."""
        stacks = self.initialised(*slugs)
        for slug in slugs:
            stacks.up(slug)
        return stacks

    def environment(self) -> dict[str, str]:
        """A whole environment with the settings, for a process."""
        kept = {k: os.environ[k] for k in KEPT if k in os.environ}
        return kept | {"LC_ALL": "C.UTF-8"} | self.given

    # -- commands --------------------------------------------------------------------------

    def start(self, *arguments: str, **changed: str) -> "subprocess.Popen[str]":
        """`python -m stacks ARGUMENTS`, in a session of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stacks", *arguments],
            cwd=CHECKOUT,
            env=self.environment() | changed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
        """`python -m stacks ARGUMENTS` to its end."""
        return ended(self.start(*arguments, **changed))

    # -- files -----------------------------------------------------------------------------

    def state_file(self, slug: str) -> Path:
        return self.directory / ".clawdet/state/.pulumi/stacks/clawdet" / f"{slug}.json"

    def state(self, slug: str) -> dict[str, Any]:
        """What the state holds: {"resources": […], "pending_operations": […]}."""
        return dict(json.loads(self.state_file(slug).read_text())["checkpoint"]["latest"] or {})

    def settings_file(self, slug: str) -> Path:
        return self.directory / ".clawdet/stacks" / f"Pulumi.{slug}.yaml"

    def files(self) -> dict[str, bytes]:
        """Everything that the project keeps, by name; what it links to is not its own."""
        found = {}
        for folder, names, files in os.walk(self.directory / ".clawdet"):
            names[:] = [n for n in names if not Path(folder, n).is_symlink()]
            for name in files:
                path = Path(folder, name)
                found[str(path.relative_to(self.directory))] = path.read_bytes()
        return found

    def backend(self) -> dict[str, bytes]:
        """The state backend's files, by name."""
        return {k: v for k, v in self.files().items() if k.startswith(".clawdet/state/")}

    def backend_locks(self, slug: str) -> list[Path]:
        """The locks that engines keep, or left, on a stack."""
        locks = self.directory / ".clawdet/state/.pulumi/locks/organization/clawdet" / slug
        return list(locks.glob("*.json"))

    # -- processes -------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Engines, and plugins that they started: all that carries a PULUMI_HOME of ours."""
        homes = str(self.directory / ".clawdet" / "homes")
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                home = process.environ().get("PULUMI_HOME", "")
                if home.startswith(homes) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def engine_of(self, slug: str) -> psutil.Process | None:
        """The engine that runs for a stack now."""
        home = str(self.directory / ".clawdet" / "homes" / slug)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.name() == "pulumi" and process.environ()["PULUMI_HOME"] == home:
                    return process
        return None


def ended(
    process: "subprocess.Popen[str]", timeout_s: float = COMMAND_S
) -> "subprocess.CompletedProcess[str]":
    """A command's end, with what it said."""
    out, err = process.communicate(timeout=timeout_s)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextlib.contextmanager
def plain_pulumi(place: Workplace, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """`pulumi ARGUMENTS`, as an operator starts it under `python -m stacks env`."""
    settings = place.settings()
    folders = (place.engine.path.parent, settings.pulumi_home / "bin", os.environ["PATH"])
    environment = {
        "PATH": os.pathsep.join(map(str, folders)),
        "HOME": os.environ["HOME"],
        "PULUMI_HOME": str(settings.pulumi_home),
        "PULUMI_BACKEND_URL": settings.backend_url,
        "PULUMI_CONFIG_PASSPHRASE": settings.passphrase(),
        "PULUMI_DEBUG_PROVIDERS": settings.pulumi_debug_providers,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    process = subprocess.Popen(
        [place.engine.path, *arguments, "--non-interactive"],
        cwd=place.directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def set_in_settings_file(place: Workplace, slug: str, key: str, value: str) -> None:
    """What an operator's `pulumi config set` does."""
    file = place.settings_file(slug)
    document = yaml.safe_load(file.read_text())
    document["config"][f"clawdet:{key}"] = value
    file.write_text(yaml.safe_dump(document))
