"""Control groups: a machine's limits, and the certain end of all its processes."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.machines.driver import MachineError

PREFIX = "clawdet-"
EMPTY_TIMEOUT_S = 20.0
CPU_PERIOD_US = 100_000


@dataclass(frozen=True)
class Hierarchies:
    """Where control groups are mounted: `unified` is cgroup v2; `memory` and `cpu` are version 1's
    where the host uses that for the controller (hybrid set-up), else None; `systemd` is its
    version 1 hierarchy without a controller, in which nspawn mirrors what it does in `unified`."""

    unified: Path
    memory: Path | None
    cpu: Path | None
    systemd: Path | None

    @property
    def all(self) -> list[Path]:
        """Every mount once."""
        return list(
            dict.fromkeys(p for p in (self.unified, self.memory, self.cpu, self.systemd) if p)
        )


def find() -> Hierarchies:
    """The host's hierarchies. Raises MachineError where there is no writable version 2."""
    unified: Path | None = None
    version_1: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, options, *_ = line.split()
        if kind == "cgroup2":
            unified = unified or Path(target)
        elif kind == "cgroup":
            version_1 |= {name: Path(target) for name in options.split(",")}
    if unified is None or not os.access(unified / "cgroup.procs", os.W_OK):
        raise MachineError(
            "no writable cgroup2 mount: run on the host, or in a privileged container"
        )
    return Hierarchies(
        unified, version_1.get("memory"), version_1.get("cpu"), version_1.get("name=systemd")
    )


class Cgroup:
    """One machine's group in every hierarchy, below one group per sandbox."""

    def __init__(self, hierarchies: Hierarchies, sandbox_id: str, name: str) -> None:
        self._hierarchies = hierarchies
        self._path = Path(f"{PREFIX}{sandbox_id}") / name

    def create(self, cores: int, memory_mb: int) -> list[Path]:
        """Make the groups with their limits; the `cgroup.procs` files that the launcher enters by.

        The guest moves on to `guest_entry`: systemd-nspawn hands controllers on to its payload,
        which version 2 allows only in a group without other processes.
        """
        tops = self._hierarchies
        group = tops.unified / self._path
        for leaf in ("launcher", "guest"):
            (group / leaf).mkdir(parents=True, exist_ok=True)
        _delegate(tops.unified, group)
        entries = [group / "launcher"]
        _limit(group, "memory.max", memory_mb << 20)
        _limit(group, "cpu.max", f"{cores * CPU_PERIOD_US} {CPU_PERIOD_US}")
        for top in dict.fromkeys(p for p in (tops.memory, tops.cpu) if p):
            (top / self._path).mkdir(parents=True, exist_ok=True)
            entries.append(top / self._path)
        if tops.memory:
            _limit(tops.memory / self._path, "memory.limit_in_bytes", memory_mb << 20)
        if tops.cpu:
            _limit(tops.cpu / self._path, "cpu.cfs_quota_us", cores * CPU_PERIOD_US)
        return [entry / "cgroup.procs" for entry in entries]

    @property
    def guest_entry(self) -> Path:
        """The `cgroup.procs` file of the guest's own group in version 2."""
        return self._hierarchies.unified / self._path / "guest" / "cgroup.procs"

    def kill(self) -> None:
        """Kill every process inside; no error when there is no such group."""
        _kill(self._hierarchies.unified / self._path)

    def remove(self) -> None:
        """Wait until nothing runs inside, and remove the groups. Raises MachineError."""
        _wait_until_empty(self._hierarchies.unified / self._path)
        for top in self._hierarchies.all:
            _remove(top / self._path)


def sandbox_ids(hierarchies: Hierarchies) -> set[str]:
    """The sandboxes, dead or alive, that have groups."""
    tops = [path for top in hierarchies.all for path in top.glob(f"{PREFIX}*-*")]
    return {path.name.removeprefix(PREFIX) for path in tops}


def clean(hierarchies: Hierarchies, sandbox_id: str) -> None:
    """Kill whatever a sandbox's machines left running, and remove its groups."""
    group = hierarchies.unified / f"{PREFIX}{sandbox_id}"
    _kill(group)
    _wait_until_empty(group)
    for top in hierarchies.all:
        _remove(top / group.name)


def _delegate(top: Path, group: Path) -> None:
    """Let the groups from the top down to `group` use memory and cpu, where version 2 has them."""
    available = set((top / "cgroup.controllers").read_text().split())
    wanted = " ".join(f"+{name}" for name in ("memory", "cpu") if name in available)
    if wanted:
        for parent in (top, group.parent, group):
            (parent / "cgroup.subtree_control").write_text(wanted)


def _limit(group: Path, file: str, value: int | str) -> None:
    """Set a limit; a file that isn't there belongs to the other version of control groups."""
    if (group / file).exists():
        (group / file).write_text(str(value))


def _kill(group: Path) -> None:
    with suppress(FileNotFoundError):
        (group / "cgroup.kill").write_text("1")


def _wait_until_empty(group: Path) -> None:
    deadline = time.monotonic() + EMPTY_TIMEOUT_S
    while group.exists() and "populated 1" in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise MachineError(f"processes in {group} outlive SIGKILL; see ps and dmesg")
        time.sleep(0.005)


def _remove(group: Path) -> None:
    for directory in _bottom_up(group):
        deadline = time.monotonic() + EMPTY_TIMEOUT_S
        while directory.exists():
            try:
                directory.rmdir()
            except OSError as error:  # busy for a moment after the last process has gone
                if time.monotonic() > deadline:
                    raise MachineError(f"{directory} can't be removed: {error}") from error
                time.sleep(0.005)


def _bottom_up(group: Path) -> Iterator[Path]:
    if group.is_dir():
        for entry in group.iterdir():
            if entry.is_dir():
                yield from _bottom_up(entry)
        yield group
