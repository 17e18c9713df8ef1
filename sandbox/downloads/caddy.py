"""Caddy for the machines, built from its Go module and packed as the official release is."""

import hashlib
import shutil
from pathlib import Path

from sandbox.downloads import process
from sandbox.downloads.recipe import ArtifactError, Progress, Recipe
from sandbox.downloads.tarball import write_tarball

_VERSION = "2.10.2"
_FILE_NAME = f"caddy_{_VERSION}_linux_amd64.tar.gz"
_MODULE = Path(__file__).with_name("caddy")
_BUILD = ("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w")
_BUILD_TIMEOUT_S = 1800
_TARGET = {"GOOS": "linux", "GOARCH": "amd64", "CGO_ENABLED": "0"}


def recipe() -> Recipe:
    """The recipe of `caddy_…_linux_amd64.tar.gz`."""
    hashed = hashlib.sha256(repr(("layout 1", _BUILD, sorted(_TARGET.items()))).encode())
    for name in ("main.go", "go.mod", "go.sum"):
        hashed.update((_MODULE / name).read_bytes())
    return Recipe("caddy", _VERSION, _FILE_NAME, hashed.hexdigest()[:16], _make)


def _make(directory: Path, progress: Progress) -> Path:
    if shutil.which("go") is None:
        raise ArtifactError(
            f"Caddy {_VERSION} is built from source and needs Go 1.25 or newer, but `go` is not"
            " on PATH. Install it (Debian: apt-get install golang; else https://go.dev/doc/install),"
            " then try again."
        )
    progress(f"Caddy {_VERSION}: building from source (minutes the first time)")
    binary = directory / "tree" / "caddy"
    binary.parent.mkdir()
    try:
        process.run(
            [*_BUILD, "-o", str(binary), "."], cwd=_MODULE, timeout_s=_BUILD_TIMEOUT_S, env=_TARGET
        )
    except ArtifactError as error:
        raise ArtifactError(
            f"Caddy {_VERSION} could not be built: {error}\n"
            "Check that this machine reaches a Go module proxy (`go env GOPROXY`), then try again."
        ) from error
    reported = process.run([str(binary), "version"], cwd=directory, timeout_s=30).split()[0]
    if reported != f"v{_VERSION}":
        raise ArtifactError(f"the Caddy built from {_MODULE.name}/go.mod calls itself {reported}")
    destination = directory / _FILE_NAME
    write_tarball(directory / "tree", destination)
    return destination
