"""Tarballs that come out byte for byte the same when made again."""

import gzip
import tarfile
from pathlib import Path


def write_tarball(directory: Path, destination: Path) -> None:
    """Pack the content of `directory` into the gzipped tar `destination`, reproducibly.

    Names are sorted; owner is root, times are zero, and a mode keeps only whether the owner may
    execute (0755 or 0644). Symbolic links are kept as links.
    """
    with (
        destination.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as compressed,
        tarfile.open(mode="w", fileobj=compressed, format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(directory.rglob("*")):
            tar.add(path, path.relative_to(directory), recursive=False, filter=_normalise)


def _normalise(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
