"""Which Pulumi engine we run, and how a machine gets one.

In this order: a fitting `pulumi` on PATH; the one in our cache; the official one, installed
through the Automation API; the one built by `go` as the tool that our go.mod pins.
"""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stacks.errors import StackError
from stacks.fetching import PULUMI_DOWNLOADS, Progress, exclusive, run_watched, unreachable
from stacks.settings import CHECKOUT

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_FLAG = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
INSTALL_TIMEOUT_S = 600.0
BUILD_TIMEOUT_S = 2400.0
"""By hand, on two busy cores: 25 s of downloads and 200 to 350 s of build."""
_VERSION_TIMEOUT_S = 30.0
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_NETWORK = re.compile(
    r"dial tcp|no such host|i/o timeout|handshake timeout|proxyconnect|connection refused|"
    r"network is unreachable|module lookup disabled",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Engine:
    """An engine that the Automation API accepts. `path` is the executable, in a folder `bin`
    of its own unless it came from PATH; `version` is without the leading v."""

    path: Path
    version: str
    origin: Literal["path", "official", "built"]


def wanted_version(project: Path = CHECKOUT) -> str:
    """The engine's version as the project's go.mod pins it: the oldest one that fits."""
    pin = re.search(r"github\.com/pulumi/pulumi/pkg/v3 v(\S+)", (project / "go.mod").read_text())
    if pin is None:
        raise StackError("go.mod no longer pins the engine.", "Restore go.mod from the repository.")
    return pin.group(1)


def find(cache: Path) -> Engine | None:
    """The engine this machine already has, without fetching or building anything."""
    return _on_path(cache) or _cached(cache)


def find_or_install(progress: Progress, cache: Path) -> Engine:
    """The engine this machine has, or gets now; `cache` is Clawdet's, outside the work tree.

    Tells `progress` what was tried and what it fell back to. Two at once: the second waits for
    the first. Raises StackError when there is none to be had, or the disk is full.
    """
    try:
        return find(cache) or _install(progress, cache)
    except OSError as exc:
        if exc.errno in _DISK_FULL:
            raise _disk_full(cache) from exc
        raise


def unfit_on_path() -> str | None:
    """Why the `pulumi` on PATH is not used; None when it fits or there is none."""
    found = shutil.which("pulumi")
    if found is None:
        return None
    version = _version_of(Path(found))
    if version is None:
        return f"{found} does not tell its version"
    if not _fits(version):
        return f"{found} is {version}; the SDK needs {wanted_version()} or newer, below 4"
    return None


def _on_path(cache: Path) -> Engine | None:
    found = shutil.which("pulumi")
    if found is None or Path(found).resolve().is_relative_to(cache.resolve()):
        return None
    version = _version_of(Path(found))
    if version is None or not _fits(version):
        return None
    return Engine(Path(found), version, "path")


def _version_of(executable: Path) -> str | None:
    """What `pulumi version` says, without the v; None when it isn't a version."""
    env = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        said = subprocess.run(
            [executable, "version"], env=env, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=_VERSION_TIMEOUT_S,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.removeprefix("v") if _numbers(said) else None


def _numbers(version: str) -> tuple[int, int, int] | None:
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _fits(version: str) -> bool:
    """Same major as the pinned one and not older; a pre-release never fits."""
    has, needs = _numbers(version), _numbers(wanted_version())
    return has is not None and needs is not None and needs <= has < (needs[0] + 1, 0, 0)


def _cached(cache: Path) -> Engine | None:
    """The official engine before a built one: it brings its language hosts along.

    Without `go` any build of these sources will do: nothing could make a newer one.
    """
    version, go = wanted_version(), shutil.which("go")
    official = _official_folder(cache) / "bin" / "pulumi"
    if official.is_file():
        return Engine(official, version, "official")
    pattern = _built_folder(cache, _go_version(go) if go else "*")
    built = sorted(pattern.parent.glob(f"{pattern.name}/bin/pulumi"))
    return Engine(built[-1], version, "built") if built else None


def _official_folder(cache: Path) -> Path:
    return cache / "engine" / f"official-{wanted_version()}"


def _built_folder(cache: Path, go_version: str) -> Path:
    """Named by all that goes into a build."""
    sources = hashlib.sha256((CHECKOUT / "go.sum").read_bytes()).hexdigest()[:16]
    return cache / "engine" / f"built-{wanted_version()}-{sources}-{go_version}"


def _go_version(go: str) -> str:
    """The toolchain that would build here, such as go1.26.8 (go.mod may ask for another one)."""
    done = subprocess.run(
        [go, "env", "GOVERSION"], cwd=CHECKOUT, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        raise StackError(
            f"go does not work here: {done.stderr.strip()}",
            "Install the Go version that go.mod names, or Pulumi itself.",
        )
    return done.stdout.strip()


def _install(progress: Progress, cache: Path) -> Engine:
    if (unfit := unfit_on_path()) is not None:
        progress(f"engine: {unfit}: not used")
    (cache / "engine").mkdir(parents=True, exist_ok=True)
    waiting = "engine: another set-up is installing it, waiting for that one…"
    with exclusive(cache / "engine" / ".lock", lambda: progress(waiting)):
        engine = _cached(cache)
        if engine is None:
            for stale in (cache / "engine").glob(".staging-*"):
                shutil.rmtree(stale)
            engine = _official_or_built(progress, cache)
    return engine


def _official_or_built(progress: Progress, cache: Path) -> Engine:
    problem = unreachable(PULUMI_DOWNLOADS)
    if problem is None:
        problem = _install_official(progress, cache)
    if problem is None:
        return Engine(_official_folder(cache) / "bin" / "pulumi", wanted_version(), "official")
    go = shutil.which("go")
    if go is None:
        raise StackError(
            f"No Pulumi engine: none on PATH, none to download ({problem}), and no go to build it.",
            f"Install Pulumi {wanted_version()} or newer, or Go, or connect this machine to the "
            "internet; then run it again.",
        )
    progress(f"engine: the official one can't be had ({problem}); building it with go")
    folder = _build(progress, cache, go)
    return Engine(folder / "bin" / "pulumi", wanted_version(), "built")


def _install_official(progress: Progress, cache: Path) -> str | None:
    """Install the official engine into the cache; returns why it couldn't, None when done."""
    version = wanted_version()
    progress(f"engine: installing the official Pulumi {version}…")
    with _staging(cache) as staging:
        outcome = run_watched(
            [sys.executable, "-m", "stacks.installer", staging, version],
            cwd=CHECKOUT, env=os.environ, timeout_s=INSTALL_TIMEOUT_S, on_line=lambda _: None,
            on_tick=lambda s: progress(f"engine: installing the official Pulumi, {s:.0f} s…"),
        )  # fmt: skip
        if outcome.disk_full:
            raise _disk_full(cache)
        if not outcome.ok:
            return outcome.reason
        staging.rename(_official_folder(cache))
    return None


def _build(progress: Progress, cache: Path, go: str) -> Path:
    """Build the engine into the cache; the folder that holds bin/pulumi."""
    version, folder = wanted_version(), _built_folder(cache, _go_version(go))
    with _staging(cache) as staging:
        work = staging / "work"
        work.mkdir(parents=True)
        counter = _Counter(progress)
        outcome = run_watched(
            [go, "build", "-v", "-trimpath", "-ldflags", f"-s -w -X {VERSION_FLAG}=v{version}",
             "-o", staging / "bin" / "pulumi", PACKAGE],
            cwd=CHECKOUT, env={**os.environ, "CGO_ENABLED": "0", "GOTMPDIR": str(work)},
            timeout_s=BUILD_TIMEOUT_S, on_line=counter.line, on_tick=counter.tick,
        )  # fmt: skip
        if not outcome.ok:
            raise _build_error(cache, outcome.disk_full, outcome.reason)
        shutil.rmtree(work)
        if (built := _version_of(staging / "bin" / "pulumi")) != version:
            raise StackError(
                f"The engine that go built calls itself {built}, not {version}.",
                "Restore go.mod and go.sum from the repository and run it again.",
            )
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    return folder


class _Counter:
    """What `go build -v` says, counted: modules while it downloads, then packages."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._modules = self._packages = 0

    def line(self, line: str) -> None:
        if line.startswith("go: downloading "):
            self._modules += 1
        elif " " not in line:
            self._packages += 1

    def tick(self, elapsed_s: float) -> None:
        if self._packages:
            done = f"{self._packages} of some 1650 packages compiled"
        else:
            done = f"{self._modules} modules downloaded"
        self._progress(f"engine: {done}, {elapsed_s:.0f} s (three to six minutes, once)…")


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """A folder beside the final one, which either becomes it or is gone."""
    staging = cache / "engine" / f".staging-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _build_error(cache: Path, disk_full: bool, reason: str) -> StackError:
    if disk_full:
        return _disk_full(cache)
    if _NO_NETWORK.search(reason):
        return StackError(
            f"go could not download the engine's sources: {reason}",
            "Connect this machine to a Go module proxy (GOPROXY), or install Pulumi "
            f"{wanted_version()} or newer; then run it again.",
        )
    return StackError(
        f"go could not build the engine: {reason}",
        "Run it again; if it stays so, try `go build " + PACKAGE + "` to see all it says.",
    )


def _disk_full(cache: Path) -> StackError:
    return StackError(
        f"The disk is full: no room for the Pulumi engine under {cache / 'engine'}.",
        "Free about 4 GB (Go keeps sources and objects in its own caches; `go env GOCACHE "
        "GOMODCACHE` says where) or set XDG_CACHE_HOME to a larger disk; then run it again.",
    )
