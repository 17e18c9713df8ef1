"""What the machines download, made once per computer and kept in the cache."""

import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.downloads import caddy, node
from sandbox.downloads.recipe import ArtifactError, Progress, Recipe
from sandbox.paths import cache_dir

DEFAULT_RELEASE = Path(__file__).parents[2] / "cloud-init" / "release.json"


@dataclass(frozen=True)
class Artifact:
    """A file that exists in the cache; `checksum` is `sha256:` and 64 hex digits."""

    version: str
    path: Path
    checksum: str


@dataclass(frozen=True)
class Artifacts:
    """All there is to download."""

    node: Artifact
    caddy: Artifact


def ensure(progress: Progress) -> Artifacts:
    """Every artifact, made now if the cache lacks it (seconds for Node.js, minutes for Caddy).

    Several processes may call this at once: one makes, the others wait. Raises ArtifactError with
    the remedy when something can't be made.
    """
    return Artifacts(
        node=_ensure(node.recipe(), progress),
        caddy=_ensure(caddy.recipe(), progress),
    )


def find(file_name: str) -> Path | None:
    """The artifact with that file name, whether it has been made yet or not; None if unknown."""
    recipes = {recipe.file_name: recipe for recipe in (node.recipe(), caddy.recipe())}
    return _place(recipes[file_name]) if file_name in recipes else None


def write_release(directory: Path, base_url: str) -> Path:
    """Write `directory`/release.json: the default release with our artifacts to download.

    `base_url` is where the machines reach the downloads service. Raises ArtifactError when an
    artifact has not been made, or is not of the version that the default release names.
    """
    release: dict[str, Any] = json.loads(DEFAULT_RELEASE.read_text())
    for recipe in (node.recipe(), caddy.recipe()):
        wanted = release[recipe.name]["version"]
        if wanted != recipe.version:
            raise ArtifactError(
                f"{DEFAULT_RELEASE.name} asks for {recipe.name} {wanted}, but the sandbox makes"
                f" {recipe.version}: change sandbox/downloads/{recipe.name}.py along with it"
            )
        release[recipe.name] = {
            "version": recipe.version,
            "url": f"{base_url.rstrip('/')}/{recipe.file_name}",
            "checksum": _made(recipe).checksum,
        }
    path = directory / "release.json"
    path.write_text(json.dumps(release, indent=2) + "\n")
    return path


def _ensure(recipe: Recipe, progress: Progress) -> Artifact:
    place = _place(recipe)
    if not place.exists():
        with _workshop(recipe.name) as scratch:
            if not place.exists():  # another process may have made it while we waited
                made = recipe.make(scratch, progress)
                place.parent.mkdir(parents=True, exist_ok=True)
                made.rename(place)
    return _made(recipe)


def _place(recipe: Recipe) -> Path:
    return cache_dir() / "downloads" / recipe.key / recipe.file_name


def _made(recipe: Recipe) -> Artifact:
    path = _place(recipe)
    if not path.exists():
        raise ArtifactError(f"{recipe.file_name} has not been made yet; `make setup` makes it")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Artifact(version=recipe.version, path=path, checksum=f"sha256:{digest}")


@contextmanager
def _workshop(name: str) -> Iterator[Path]:
    """An empty directory on the cache's file system, for one process at a time.

    What a killed process left in it is cleared first.
    """
    base = cache_dir() / "downloads"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in base.glob(f".{name}-*"):
            shutil.rmtree(stale)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=base) as scratch:
            yield Path(scratch)
