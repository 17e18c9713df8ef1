"""A machine's disk: sparse files with ext4, laid as an overlay over the base image.

A server's directory, and an image's, hold `layers/NNN.img` (read-only, oldest first) and `base`
(the name of the base image below them); a server's also `disk.img`, which it writes to. Layers are
hard links, so that servers and images come and go in any order.
"""

import os
import re
import shutil
from pathlib import Path

from sandbox.machines.commands import run
from sandbox.machines.driver import MachineError

# A small journal; the inode tables are left sparse (boot.sh mounts with noinit_itable).
MKFS = (
    *("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=16"),
    *("-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"),
)
IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Disks:
    """The disks of all servers and images in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def server(self, id_: int) -> Path:
        """A server's directory."""
        return self._directory / "servers" / str(id_)

    def create(self, id_: int, image: str, base: str, disk_gb: int) -> None:
        """Give a server an empty disk over `image`: "base" (of name `base`) or a snapshot's id."""
        home = self.server(id_)
        self.remove(id_)
        (home / "layers").mkdir(mode=0o700, parents=True)
        if image != "base":
            source = self._image(image)
            base = self.base(source)
            for layer in sorted((source / "layers").iterdir()):
                os.link(layer, home / "layers" / layer.name)
        (home / "base").write_text(base)
        self._make(home / "disk.img", disk_gb)

    def base(self, home: Path) -> str:
        """The name of the base image that a server's or an image's directory builds on."""
        return (home / "base").read_text()

    def prepare(self, id_: int, disk_gb: int) -> None:
        """See to it that a switched-off server has a disk of this size; a disk never shrinks."""
        disk = self.server(id_) / "disk.img"
        if not disk.exists():  # `freeze` was cut short: what it held is a layer already
            self._make(disk, disk_gb)
        if disk.stat().st_size >= disk_gb << 30:
            return
        os.truncate(disk, disk_gb << 30)
        run("e2fsck", "-f", "-p", str(disk), accept=(0, 1))  # 1: errors were corrected
        run("resize2fs", str(disk))

    def freeze(self, id_: int, image: str, disk_gb: int) -> float:
        """Make a switched-off server's disk an image, and go on with an empty one over it.

        Returns the image's size in GB, as far as it is more than the base image.
        """
        home, target = self.server(id_), self._image(image)
        layers = home / "layers"
        new = target.with_name(f".{target.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        (new / "layers").mkdir(mode=0o700, parents=True)
        top = layers / f"{len(list(layers.iterdir())):03}.img"
        (home / "disk.img").rename(top)
        self._make(home / "disk.img", disk_gb)
        for layer in layers.iterdir():
            os.link(layer, new / "layers" / layer.name)
        shutil.copy(home / "base", new / "base")
        new.rename(target)
        used = sum(layer.stat().st_blocks * 512 for layer in layers.iterdir())
        return round(used / 1e9, 3)

    def remove(self, id_: int) -> None:
        """Remove a server's directory; no error when there is none."""
        _remove(self.server(id_))

    def remove_image(self, image: str) -> None:
        """Remove an image; servers made from it keep their layers."""
        _remove(self._image(image))

    def _image(self, image: str) -> Path:
        if not IMAGE_ID.fullmatch(image):
            raise MachineError(f"{image!r} is no image id: letters, digits, dots, dashes only")
        return self._directory / "images" / image

    def _make(self, path: Path, disk_gb: int) -> None:
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.truncate(disk_gb << 30)
        run(*MKFS, str(new))
        new.chmod(0o600)
        new.rename(path)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
