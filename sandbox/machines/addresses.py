"""The loopback addresses that stand in for servers' public ones, one /24 per sandbox directory."""

import fcntl
import hashlib
import os
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox.machines.driver import MachineError

# 127.64.0.0 to 127.126.255.0: far from 127.0.0.1, 127.0.1.1 and 127.0.0.53, which systems use.
FIRST, COUNT = 64, 63 * 256
PREFIX = re.compile(r"127\.\d+\.\d+")


def run_dir() -> Path:
    """This user's directory for locks between sandboxes; emptied at boot where the system does."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() == 0 and Path("/run").is_dir():
        return Path("/run/clawdet")
    return Path(base) / "clawdet" if base else Path(f"/tmp/clawdet-{os.geteuid()}")


class AddressBlock:
    """127.A.B.0/24, claimed for a sandbox directory and locked while this object lives.

    The block is remembered in `directory`/network, so that addresses outlive a restart; a claim
    file in `run_dir()` names the directory, so that no other sandbox takes the block meanwhile.
    Raises MachineError when another driver uses the directory now.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory.resolve()
        self._remembered = self._directory / "network"
        self.prefix, fd = self._claim()
        self._remembered.write_text(self.prefix + "\n")
        self._release = weakref.finalize(self, os.close, fd)

    def address(self, index: int) -> str:
        """Address number `index` (2 to 254)."""
        return f"{self.prefix}.{index}"

    @property
    def sandbox_id(self) -> str:
        """A short name, unique among the sandboxes that run on this host."""
        return _id(self.prefix)

    def release(self) -> None:
        """Give up the lock; the block stays this directory's."""
        self._release()

    def _claim(self) -> tuple[str, int]:
        with exclusive() as lock_dir:
            _forget_removed(lock_dir)
            for prefix in self._candidates():
                fd = os.open(lock_dir / f"addresses-{prefix}", os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    if self._take(fd, prefix):
                        return prefix, fd
                except BaseException:
                    os.close(fd)
                    raise
                os.close(fd)
        raise MachineError(f"all {COUNT} address blocks are taken; remove {lock_dir}")

    def _candidates(self) -> Iterator[str]:
        """The remembered block, then all others, starting at one that the path's hash picks."""
        with suppress(FileNotFoundError):
            remembered = self._remembered.read_text().strip()
            if PREFIX.fullmatch(remembered):
                yield remembered
        start = int.from_bytes(hashlib.sha256(str(self._directory).encode()).digest()[:4]) % COUNT
        for offset in range(COUNT):
            high, low = divmod((start + offset) % COUNT, 256)
            yield f"127.{FIRST + high}.{low}"

    def _take(self, fd: int, prefix: str) -> bool:
        """Lock a claim file for us; False when the block is another sandbox's."""
        owner = os.pread(fd, 4096, 0).decode().strip()
        if owner and owner != str(self._directory) and _remembers(Path(owner), prefix):
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if owner == str(self._directory):
                raise MachineError(
                    f"another process runs the machines of {self._directory}: stop that sandbox,"
                    " or give this one another directory"
                ) from error
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{self._directory}\n".encode(), 0)
        return True


@contextmanager
def exclusive() -> Iterator[Path]:
    """Nobody claims a block meanwhile. Yields the directory of the claim files."""
    lock_dir = run_dir()
    lock_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (lock_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock_dir


def is_running(lock_dir: Path, sandbox_id: str) -> bool:
    """Whether a sandbox's process lives. Ask only inside `exclusive`."""
    prefix = f"127.{sandbox_id.replace('-', '.')}"
    try:
        with (lock_dir / f"addresses-{prefix}").open() as claim:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _forget_removed(lock_dir: Path) -> None:
    """Remove the claims of directories that are no more."""
    for claim in lock_dir.glob("addresses-*"):
        prefix = claim.name.removeprefix("addresses-")
        owner = Path(claim.read_text().strip())
        if not _remembers(owner, prefix) and not is_running(lock_dir, _id(prefix)):
            claim.unlink()


def _id(prefix: str) -> str:
    return prefix.removeprefix("127.").replace(".", "-")


def _remembers(directory: Path, prefix: str) -> bool:
    """Whether a sandbox directory still exists and calls the block its own."""
    try:
        return (directory / "network").read_text().strip() == prefix
    except (FileNotFoundError, NotADirectoryError):
        return False
