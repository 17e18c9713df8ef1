"""What every download has in common: ask briefly whether the host answers, then run the
downloader as a child that is watched, bounded in time and never outlives us."""

import ctypes
import fcntl
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

Progress = Callable[[str], None]
"""Takes one line. A line that ends with "…" tells of something under way (a terminal may
overwrite it); any other line is a fact that stays."""

PULUMI_DOWNLOADS = "https://get.pulumi.com"
PROBE_TIMEOUT_S = 4.0
TICK_S = 10.0
_PR_SET_PDEATHSIG = 1
_NO_SPACE = ("no space left on device", "disk quota exceeded", "file too large")


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code (None when it ran out of time) and its last lines."""

    code: int | None
    tail: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when the child ended by itself with exit code 0."""
        return self.code == 0

    @property
    def reason(self) -> str:
        """The last thing it said, for a person."""
        if self.code is None:
            return "out of time"
        return next((line for line in reversed(self.tail) if line.strip()), f"exit {self.code}")

    @property
    def disk_full(self) -> bool:
        """True when what it said is that the disk is full."""
        said = " ".join(self.tail).lower()
        return not self.ok and any(phrase in said for phrase in _NO_SPACE)


def cache_dir() -> Path:
    """Clawdet's cache, outside any work tree (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "clawdet"


def unreachable(url: str, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """Why nothing can be fetched from `url` now; None when its host takes a connection.

    Asks the proxy instead of the host where the environment names one. Returns after
    `timeout_s` at the latest: the resolver has no time-out of its own, so it is asked in a
    thread that may be left behind.
    """
    host, port = _door(url)
    answer: queue.Queue[str | None] = queue.Queue()

    def ask() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
        except OSError as exc:
            answer.put(f"{host}: {exc.strerror or exc}")
        else:
            answer.put(None)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.get(timeout=timeout_s)
    except queue.Empty:
        return f"{host}: no answer in {timeout_s:.0f} s"


def _door(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    default = 443 if parts.scheme == "https" else 80
    return parts.hostname or "", parts.port or default


@contextmanager
def exclusive(lock_file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold `lock_file`; calls `on_wait` at once and about every ten seconds while another process
    does. The kernel lifts the lock of a dead holder."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        told = -TICK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - told >= TICK_S:
                    told = time.monotonic()
                    on_wait()
                time.sleep(0.2)
        yield


def run_watched(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    on_line: Callable[[str], None],
    on_tick: Callable[[float], None],
) -> Outcome:
    """Run `argv` to its end, for at most `timeout_s`.

    Calls `on_line` with each line of output and `on_tick` with the elapsed seconds about every
    ten. The child has its own process group, which is gone when this returns or raises (Ctrl-C
    too); the child itself dies with us even on kill -9. Raises OSError when it can't be started.
    """
    started = time.monotonic()
    tail: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", process_group=0,
        preexec_fn=_die_with_parent,
    ) as child:  # fmt: skip
        try:
            lines = _lines_of(child)
            next_tick = started + TICK_S
            while (now := time.monotonic()) < started + timeout_s:
                if now >= next_tick:
                    on_tick(now - started)
                    next_tick = now + TICK_S
                try:
                    line = lines.get(timeout=min(next_tick, started + timeout_s) - now)
                except queue.Empty:
                    continue
                if line is None:
                    return Outcome(child.wait(), tuple(tail))
                tail.append(line)
                on_line(line)
            return Outcome(None, tuple(tail))
        finally:
            _end_group(child)


def _lines_of(child: "subprocess.Popen[str]") -> "queue.Queue[str | None]":
    """The child's output, line by line, then None."""
    lines: queue.Queue[str | None] = queue.Queue()
    stream = child.stdout

    def pump() -> None:
        for line in stream or ():
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    return lines


def _end_group(child: "subprocess.Popen[str]") -> None:
    """Interrupt the whole group (`go` then removes its work folder), kill what is left."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
        except ProcessLookupError:
            return
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
