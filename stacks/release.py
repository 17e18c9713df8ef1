"""What runs on a server: the release file, and cloud-init/install packed for the trip."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.errors import UsageError

REQUIRED = ("release", "node", "openclaw", "caddy")


@dataclass(frozen=True)
class InstallArchive:
    """cloud-init/install as one .tar.gz: its `path` on this machine and its content's SHA-256."""

    path: Path
    digest: str


def load_release(path: Path) -> dict[str, Any]:
    """The release file (schema: cloud-init/release.json); UsageError if it is not one."""
    try:
        release = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"release file {path}: {error}", "set CLAWDET_RELEASE to a readable release file"
        ) from error
    missing = [name for name in REQUIRED if not isinstance(release, dict) or name not in release]
    if missing:
        raise UsageError(
            f"release file {path} lacks {', '.join(missing)}", "compare cloud-init/release.json"
        )
    return dict(release)


def pack_install(folder: Path, into: Path) -> InstallArchive:
    """Pack `folder` into `into`/install-DIGEST.tar.gz; the same content makes the same file."""
    packed = _tar(folder)
    digest = hashlib.sha256(packed).hexdigest()
    path = into / f"install-{digest[:16]}.tar.gz"
    if not path.exists():
        into.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(gzip.compress(packed, mtime=0))
        fresh.replace(path)
    return InstallArchive(path, digest)


def _tar(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = tarfile.TarInfo(str(file.relative_to(folder)))
            info.size = file.stat().st_size
            info.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            with file.open("rb") as content:
                tar.addfile(info, content)
    return buffer.getvalue()
