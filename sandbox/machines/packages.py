"""The programs that real machines need on this host, and the Debian packages they come in."""

import os
import shutil
import subprocess
from collections.abc import Callable

from sandbox.machines.commands import search_path
from sandbox.machines.driver import MachineError

PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "slirp4netns": "slirp4netns",
    "ip": "iproute2",
    "nft": "nftables",
    "zstd": "zstd",
    "mkfs.ext4": "e2fsprogs",
    "resize2fs": "e2fsprogs",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
}
# Without it mmdebstrap can't check Debian's signatures on another distribution.
KEYRING, KEYRING_PACKAGE = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "debian-archive-keyring",
)


def missing() -> tuple[str, ...]:
    """The Debian packages that this host lacks, in order."""
    path = search_path()
    lacking = {package for name, package in PROGRAMS.items() if not shutil.which(name, path=path)}
    if not os.path.exists(KEYRING):  # noqa: PTH110 - a file of the system, not of ours
        lacking.add(KEYRING_PACKAGE)
    return tuple(sorted(lacking))


def installable() -> bool:
    """Whether this process may install packages: root, on a system with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def ensure(progress: Callable[[str], None]) -> None:
    """Install what is missing. Raises MachineError, naming it, without root or apt."""
    lacking = missing()
    if not lacking:
        return
    if not installable():
        raise MachineError(f"real machines need: apt-get install {' '.join(lacking)} (as root)")
    progress(f"Installing {', '.join(lacking)}")
    _apt_get("update")
    _apt_get("install", "--yes", "--no-install-recommends", *lacking)
    if missing():
        raise MachineError(f"apt-get installed, yet missing: {' '.join(missing())}")


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", *arguments)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        tail = " ".join(result.stderr.strip().splitlines()[-3:])
        raise MachineError(f"apt-get {arguments[0]} failed ({tail}); run it by hand as root")
