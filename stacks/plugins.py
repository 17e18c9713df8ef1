"""The provider plugins the engine needs: which versions, where they come from, what is there.

The official ones come by `pulumi plugin install` and stay in our cache for the next checkout.
They are binaries; a script in one's place is a stand-in. This module never makes a stand-in, it
only tells it from the real thing.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from stacks.engine import Engine
from stacks.fetching import PULUMI_DOWNLOADS, Progress, exclusive, run_watched, unreachable

PACKAGES = {name: f"pulumi-{name}" for name in ("hcloud", "cloudflare", "command")}
LANGUAGE_HOST = "pulumi-language-python"
INSTALL_TIMEOUT_S = 180.0

Origin = Literal["official", "stand-in", "missing"]


@dataclass(frozen=True)
class PluginState:
    """One plugin as it is on disk; `version` is the one the installed SDK asks for."""

    name: str
    version: str
    origin: Origin

    @property
    def folder(self) -> str:
        """The plugin's folder under PULUMI_HOME/plugins, as the engine looks for it."""
        return f"resource-{self.name}-v{self.version}"


def installed(home: Path) -> list[PluginState]:
    """The plugins the program needs, as they are in `home` (PULUMI_HOME)."""
    return [_state(home, name, version(package)) for name, package in PACKAGES.items()]


def language_host(engine: Engine, home: Path) -> Path | None:
    """What lets a plain `pulumi up` run the program: beside the engine, in `home`, or on PATH."""
    for folder in (engine.path.resolve().parent, home / "bin"):
        if (host := folder / LANGUAGE_HOST).is_file():
            return host
    found = shutil.which(LANGUAGE_HOST)
    return Path(found) if found else None


def install_official(
    engine: Engine, home: Path, cache: Path, progress: Progress
) -> list[PluginState]:
    """Put the official plugins into `home`, from our cache or from the internet.

    Stays away from the network when all are there, and gives up on it after one short probe.
    Returns what `home` holds then; a stand-in stays where no official plugin could be had.
    """
    waiting = "plugins: another set-up is installing them, waiting for that one…"
    with exclusive(home / ".setup.lock", lambda: progress(waiting)):
        store = cache / "pulumi"
        for plugin in _not_official(home):
            if _complete(store, plugin):
                _link(store, home, plugin)
        if _not_official(home):
            _fetch(engine, home, store, progress)
    return installed(home)


def _fetch(engine: Engine, home: Path, store: Path, progress: Progress) -> None:
    """Download what is not official yet; the first failure ends it, told if anything is missing."""
    problem, lacking = unreachable(PULUMI_DOWNLOADS), _not_official(home)
    while lacking and problem is None:
        problem = _download(engine, store, lacking[0], progress)
        if problem is None:
            _link(store, home, lacking.pop(0))
    missing = [plugin.name for plugin in lacking if plugin.origin == "missing"]
    if missing:
        progress(f"plugins: official {', '.join(missing)} can't be had ({problem})")


def _not_official(home: Path) -> list[PluginState]:
    return [plugin for plugin in installed(home) if plugin.origin != "official"]


def _state(home: Path, name: str, wanted: str) -> PluginState:
    plugin = PluginState(name, wanted, "missing")
    if not _complete(home, plugin):
        return plugin
    with (home / "plugins" / plugin.folder / f"pulumi-resource-{name}").open("rb") as executable:
        script = executable.read(2) == b"#!"
    return PluginState(name, wanted, "stand-in" if script else "official")


def _complete(home: Path, plugin: PluginState) -> bool:
    """The engine leaves a file FOLDER.partial while it unpacks."""
    folder = home / "plugins" / plugin.folder
    partial = folder.with_name(f"{folder.name}.partial")
    return (folder / f"pulumi-resource-{plugin.name}").is_file() and not partial.exists()


def _download(engine: Engine, store: Path, plugin: PluginState, progress: Progress) -> str | None:
    """Let the engine download into our store; why it couldn't, None when done."""
    label = f"plugins: downloading {plugin.name} {plugin.version}"
    progress(f"{label}…")
    store.mkdir(parents=True, exist_ok=True)
    outcome = run_watched(
        [engine.path, "plugin", "install", "resource", plugin.name, f"v{plugin.version}"],
        cwd=store,
        env={**os.environ, "PULUMI_HOME": str(store), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        timeout_s=INSTALL_TIMEOUT_S,
        on_line=lambda _: None,
        on_tick=lambda elapsed_s: progress(f"{label}, {elapsed_s:.0f} s…"),
    )
    if outcome.ok and not _complete(store, plugin):
        return "the engine says it is installed, but it isn't there"
    return None if outcome.ok else outcome.reason


def _link(store: Path, home: Path, plugin: PluginState) -> None:
    """Hard links where the file system allows (a symbolic one the engine would not follow)."""
    source, target = (place / "plugins" / plugin.folder for place in (store, home))
    fresh, old = (target.with_name(f".{target.name}.{what}") for what in ("new", "old"))
    _remove((fresh, old))
    shutil.copytree(source, fresh, copy_function=_link_or_copy)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    _remove((old,))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
