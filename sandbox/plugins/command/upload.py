"""Copies assets and archives to an SFTP server.

Where a copy lands, as with the official plugin:

  source | destination is a directory | is absent        | is a file
  dir    | destination/dir            | destination/dir  | error
  dir/   | destination/...            | destination/...  | error
  file   | destination/file           | destination      | overwritten
"""

import io
import posixpath
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

import paramiko

from sandbox.plugins.errors import PluginError
from sandbox.plugins.values import Asset

PLAIN, EXECUTABLE = 0o644, 0o755


class Uploader:
    """One SFTP session; `check` is called between files and raises when we shall stop."""

    def __init__(self, client: paramiko.SFTPClient, check: Callable[[], None]) -> None:
        self._client = client
        self._check = check

    def copy(self, source: Asset, destination: str) -> None:
        """Copy a source. Raises PluginError, OSError or paramiko's errors."""
        if "text" in source.fields:
            self._copy_text(str(source.fields["text"]), destination)
        elif "path" in source.fields:
            self._copy_path(str(source.fields["path"]), destination)
        elif "assets" in source.fields:
            self._copy_archive(source, destination)
        else:
            raise PluginError("the source is neither a text nor a local path nor an asset archive")

    def _copy_path(self, source: str, destination: str) -> None:
        local = Path(source)
        if not local.exists():
            raise PluginError(f"{source}: no such file or directory (seen from {Path.cwd()})")
        if local.is_dir():
            self._need_directory(destination)
            if not source.endswith("/"):
                destination = posixpath.join(destination, local.name)
                self._need_directory(destination)
            self._copy_tree(local, destination)
        else:
            if self._is_directory(destination):
                destination = posixpath.join(destination, local.name)
            self._copy_file(local, destination)

    def _copy_text(self, text: str, destination: str) -> None:
        if self._is_directory(destination):
            raise PluginError(
                f"remote path {destination} is a directory; cannot determine destination filename"
            )
        self._put(io.BytesIO(text.encode()), destination, PLAIN)

    def _copy_archive(self, archive: Asset, destination: str) -> None:
        self._need_directory(destination)
        for name, item in sorted(archive.fields["assets"].items()):
            target = posixpath.join(destination, name)
            if "assets" in item.fields:
                self._copy_archive(item, target)
            elif "path" in item.fields and Path(str(item.fields["path"])).is_dir():
                self._need_directory(target)
                self._copy_tree(Path(str(item.fields["path"])), target)
            else:
                self.copy(item, target)

    def _copy_tree(self, local: Path, destination: str) -> None:
        for entry in sorted(local.iterdir()):
            target = posixpath.join(destination, entry.name)
            if entry.is_dir():
                self._need_directory(target)
                self._copy_tree(entry, target)
            else:
                self._copy_file(entry, target)

    def _copy_file(self, local: Path, destination: str) -> None:
        mode = EXECUTABLE if local.stat().st_mode & stat.S_IXUSR else PLAIN
        with local.open("rb") as content:
            self._put(content, destination, mode)

    def _put(self, content: IO[bytes], destination: str, mode: int) -> None:
        self._check()
        self._make_directories(posixpath.dirname(destination))
        self._client.putfo(content, destination)
        self._client.chmod(destination, mode)

    def _need_directory(self, path: str) -> None:
        """Make a directory where nothing is. Raises PluginError where a file is."""
        mode = self._mode(path)
        if mode is not None and not stat.S_ISDIR(mode):
            raise PluginError(f"remote path {path} exists but is not a directory")
        self._make_directories(path)

    def _make_directories(self, path: str) -> None:
        if path in ("", "/") or self._mode(path) is not None:
            return
        self._make_directories(posixpath.dirname(path))
        self._client.mkdir(path)

    def _is_directory(self, path: str) -> bool:
        mode = self._mode(path)
        return mode is not None and stat.S_ISDIR(mode)

    def _mode(self, path: str) -> int | None:
        try:
            return self._client.stat(path).st_mode
        except FileNotFoundError:
            return None
