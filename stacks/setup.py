"""`python -m stacks setup`: the engine and the plugins this machine needs to run any stack."""

import argparse
import os
import shlex
import shutil
from pathlib import Path

from stacks import plugins, terminal
from stacks.engine import Engine, find, find_or_install
from stacks.errors import StackError
from stacks.fetching import Progress, cache_dir, run_watched
from stacks.settings import CHECKOUT, Settings

FALLBACK_TIMEOUT_S = 300.0


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `setup` to the command line; the parsed arguments carry `handler`."""
    parser = commands.add_parser(
        "setup",
        help="install the Pulumi engine and its plugins",
        description="Install the Pulumi engine and the official plugins, each from the first "
        "source that works. Does nothing where they are already there.",
    )
    parser.add_argument(
        "--fallback",
        metavar="COMMAND",
        help="what to run when the official plugins or the language host can't be had",
    )
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace) -> int:
    """Handler of `setup`: exit code 0 when everything is there."""
    settings, cache = Settings.read(), cache_dir()
    before = _summary(find(cache), settings.pulumi_home)
    with terminal.progress() as progress:
        engine = install(settings.pulumi_home, cache, args.fallback, progress)
    if (after := _summary(engine, settings.pulumi_home)) != before:
        terminal.console().print(terminal.table(after))
    return 0


def install(home: Path, cache: Path, fallback: str | None, progress: Progress) -> Engine:
    """Engine, plugins and language host, official where they can be had, else by `fallback`, a
    command line run in the checkout that fills `home`. Raises StackError naming what is missing."""
    engine = find_or_install(progress, cache)
    states = plugins.install_official(engine, home, cache, progress)
    stand_ins = [s.name for s in states if s.origin != "official"]
    if plugins.language_host(engine, home) in (None, home / "bin" / plugins.LANGUAGE_HOST):
        stand_ins.append(plugins.LANGUAGE_HOST)
    if stand_ins and fallback:
        _run_fallback(fallback, progress)
    _check(engine, home)
    _put_beside_language_host(engine, home)
    return engine


def _put_beside_language_host(engine: Engine, home: Path) -> None:
    """The CLI warns of a language host that is not in its own folder."""
    if not (home / "bin" / plugins.LANGUAGE_HOST).exists():
        return
    beside = home / "bin" / "pulumi"
    if beside.exists() and beside.stat().st_size == engine.path.stat().st_size:
        return
    fresh = beside.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    try:
        fresh.hardlink_to(engine.path)
    except OSError:  # another file system
        shutil.copy2(engine.path, fresh)
    fresh.replace(beside)


def _run_fallback(command: str, progress: Progress) -> None:
    """It runs every time: what it wrote once may name an interpreter that is gone."""
    outcome = run_watched(
        shlex.split(command),
        cwd=CHECKOUT,
        env=os.environ,
        timeout_s=FALLBACK_TIMEOUT_S,
        on_line=lambda _: None,
        on_tick=lambda elapsed_s: progress(f"plugins: stand-ins, {elapsed_s:.0f} s…"),
    )
    if not outcome.ok:
        raise StackError(
            f"The stand-in plugins could not be installed: {outcome.reason}",
            f"Run `{command}` by hand to see all it says.",
        )


def _check(engine: Engine, home: Path) -> None:
    missing = [f"{s.name} {s.version}" for s in plugins.installed(home) if s.origin == "missing"]
    if plugins.language_host(engine, home) is None:
        missing.append(plugins.LANGUAGE_HOST)
    if missing:
        raise StackError(
            f"Not installed: {', '.join(missing)}.",
            "Connect this machine to the internet and run it again, or run `make setup`, which "
            "installs the stand-ins for the sandbox.",
        )


def _summary(engine: Engine | None, home: Path) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    if engine is not None:
        rows.append(("pulumi", engine.version, engine.origin))
    rows.extend((s.name, s.version, s.origin) for s in plugins.installed(home))
    return rows
