"""Network namespaces without a name: the kernel removes them with the process that holds them."""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


class NetNamespace:
    """A new, empty network namespace. Needs root; raises OSError where the kernel refuses."""

    def __init__(self) -> None:
        self._fd = _in_thread(_unshare)
        self._close = weakref.finalize(self, os.close, self._fd)

    @property
    def path(self) -> str:
        """A path to the namespace, good in this process's mount and pid namespace."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def run(self, work: Callable[[], T]) -> T:
        """Call `work` in a thread that is inside. Sockets and processes made there stay inside."""

        def inside() -> T:
            _check(_libc.setns(self._fd, CLONE_NEWNET))
            return work()

        return _in_thread(inside)

    def close(self) -> None:
        """Let go: the namespace ends with the last process and socket in it."""
        self._close()


def _unshare() -> int:
    _check(_libc.unshare(CLONE_NEWNET))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _in_thread(work: Callable[[], T]) -> T:
    """A namespace is a thread's property, so it is entered in a thread that ends afterwards."""
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=target, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
