"""What Pulumi's SDK leaves lying around, kept from failing tests that treat warnings as errors."""

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_leaks_of_the_sdk() -> Iterator[None]:
    """After a failed `up` Pulumi's SDK leaves the inline program's event loop and coroutines lying
    around, and its server logs the closed connection. Collected here they warn nowhere else; the
    log record is not kept, because it holds the frames that hold the loop."""
    log = logging.getLogger("grpc._server")
    log.disabled = True
    try:
        yield
    finally:
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        gc.collect()
        sys.unraisablehook = hook
        log.disabled = False
