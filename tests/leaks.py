"""What Pulumi's SDK leaves lying around, kept from failing tests that treat warnings as errors."""

import gc
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# An event loop, the sockets by which it wakes itself, and connections that hcloud's client keeps.
UNCLOSED = re.compile(r"unclosed (event loop|<socket.* (family=1,|raddr=\('127\.0\.0\.1'))")


@contextmanager
def without_leaks_of_the_sdk() -> Iterator[None]:
    """After a failed `up` Pulumi's SDK leaves the inline program's event loop and coroutines lying
    around, and its server logs the closed connection. Python may collect them at any time within
    the block, and does at its end; the log record is not kept, because it holds the frames that
    hold the loop."""
    log = logging.getLogger("grpc._server")
    log.disabled = True
    hook = sys.unraisablehook
    sys.unraisablehook = lambda found: None if _is_theirs(found) else hook(found)
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
        log.disabled = False


def _is_theirs(found: "sys.UnraisableHookArgs") -> bool:
    code = getattr(found.object, "cr_code", None)
    if code is not None:
        return "/pulumi/" in code.co_filename
    unclosed = isinstance(found.exc_value, ResourceWarning)
    return unclosed and UNCLOSED.match(str(found.exc_value)) is not None
