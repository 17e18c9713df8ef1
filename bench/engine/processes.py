"""Which processes belong to a way, what memory they hold, and who else uses the machine."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LEAST_PAUSE_S = 0.1
DUTY = 0.05  # of one processor: reading smaps_rollup walks every page table


@dataclass(frozen=True)
class _Stat:
    """Of /proc/PID/stat (proc(5)), times in clock ticks; `reaped`: of children that have ended."""

    parent: int
    session: int
    start: int
    cpu: int
    reaped: int


class Tree:
    """Processes that began with `add`, all that they started, and what those left behind.

    A child that leads a session of its own, or whose parent has ended, still counts: what was seen
    once is known by its number and start, and so is everything in a session that it leads.
    """

    def __init__(self) -> None:
        self._known: set[tuple[int, int]] = set()
        self._lock = threading.Lock()

    def add(self, pid: int) -> None:
        """Count a process, and from now on all that it starts."""
        stat = _read_stat(pid)
        if stat:
            with self._lock:
                self._known.add((pid, stat.start))

    def members(self) -> set[int]:
        """The living ones."""
        stats = {pid: stat for pid in _pids() if (stat := _read_stat(pid))}
        with self._lock:
            leaders = {pid for pid, _ in self._known}
            found = {pid for pid, stat in stats.items() if (pid, stat.start) in self._known}
            grown = True
            while grown:
                more = {
                    pid
                    for pid, stat in stats.items()
                    if pid not in found and (stat.parent in found or stat.session in leaders)
                }
                found |= more
                leaders |= more
                grown = bool(more)
            self._known |= {(pid, stats[pid].start) for pid in found}
        return found

    def kill(self) -> None:
        """End all of it at once."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cpu_s(self) -> float:
        """Processor seconds of the living and of those that they saw end; it only grows as long as
        the processes that began the tree live, or we see them end."""
        stats = filter(None, map(_read_stat, self.members()))
        ours = os.times()
        living = sum(stat.cpu + stat.reaped for stat in stats) / TICKS_PER_S
        return living + ours.children_user + ours.children_system


class PeakMemory:
    """Watches a tree for the length of a `with` block; afterwards `mb` is the most it held.

    MiB of proportional set size: a page shared by n processes counts 1/n in each. Between two
    looks a shorter peak may pass unseen.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory")
        self.mb = 0.0

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            began = time.thread_time()
            self.mb = max(self.mb, sum(map(pss_mb, self._tree.members())))
            pause_s = max(LEAST_PAUSE_S, (time.thread_time() - began) / DUTY)


def pss_mb(pid: int) -> float:
    """A process's proportional set size in MiB; 0 when it is gone."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_s(pid: int) -> float:
    """Processor seconds that a living process has used; 0 when it is gone."""
    stat = _read_stat(pid)
    return stat.cpu / TICKS_PER_S if stat else 0.0


def busy_share(seconds: float = 0.5) -> float:
    """How much of the machine's processors is in use, 0 to 1, while we do nothing."""
    before = _machine()
    time.sleep(seconds)
    busy, total = (now - then for now, then in zip(_machine(), before, strict=True))
    return busy / total if total else 0.0


def _machine() -> tuple[int, int]:
    """Busy and all ticks since boot (the first line of /proc/stat: user nice system idle …)."""
    ticks = [int(word) for word in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything; `fields` begins with the state, field 3.
    fields = text.rpartition(")")[2].split()
    user, system, reaped_user, reaped_system = map(int, fields[11:15])
    return _Stat(
        parent=int(fields[1]),
        session=int(fields[3]),
        start=int(fields[19]),
        cpu=user + system,
        reaped=reaped_user + reaped_system,
    )
