"""Signals as they come seldom: to a thread that is not the main one."""

import ctypes
import os
from pathlib import Path

TGKILL = {"x86_64": 234, "aarch64": 131}


def send_aside(pid: int, number: int) -> None:
    """Send a signal to a thread of a process that is not its main one.

    Python's handlers run in the main thread, which such a signal doesn't wake. The same is seen
    of a signal that comes in the moment before the main thread is put to sleep.
    """
    threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    aside = next(thread for thread in threads if thread != pid)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(TGKILL[os.uname().machine], pid, aside, number):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
