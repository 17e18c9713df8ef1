"""The lock that the engine keeps on a stack in the state backend, and who wrote it."""

import re
import socket
from dataclasses import dataclass

import psutil
from pulumi.automation import errors as sdk

# What the engine says of each lock (pkg/backend/diy/lock.go, checkForLock).
OWNER = re.compile(r"created by \S+@(?P<host>\S+) \(pid (?P<pid>\d+)\)")


@dataclass(frozen=True)
class Owner:
    """The process that wrote a lock."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def dead(self) -> bool:
        """Whether it certainly runs no more; a process on another host may."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            # The number may be another program's by now.
            return process.status() == psutil.STATUS_ZOMBIE or "pulumi" not in process.name()
        except psutil.NoSuchProcess:
            return True


def owners(error: sdk.ConcurrentUpdateError) -> list[Owner]:
    """Everyone who holds a lock of the stack, as far as the error names them."""
    return [Owner(found["host"], int(found["pid"])) for found in OWNER.finditer(str(error))]
