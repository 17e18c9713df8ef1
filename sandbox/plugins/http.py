"""What both clouds' clients need: safe retries, loopback only, a lost answer told apart."""

import ipaddress
import os
from collections.abc import Callable
from enum import Enum
from typing import TypeVar
from urllib.parse import urlsplit

from sandbox.plugins.resource import Backend, Operation

Answer = TypeVar("Answer")

INSIST = "CLAWDET_STANDIN_PLUGINS"
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
MOST_TRIES = 5
FIRST_GAP_S = 1.0


class Failed(Enum):
    """What is known of a failed request."""

    REFUSED = "refused"
    """The cloud said no, and a repetition would be refused as well."""
    LATER = "later"
    """The cloud did nothing and asks to come again (rate limit, a conflict with another action)."""
    UNCLEAR = "unclear"
    """The answer was lost: the work may have been done. Only reading may be repeated blindly."""


def is_loopback(url: str) -> bool:
    """Whether an endpoint is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(name: str, version: str, url: str) -> str | None:
    """Why the stand-in does not serve this endpoint, or None when it does."""
    if is_loopback(url) or os.environ.get(INSIST) == "1":
        return None
    return (
        f"this is Clawdet's stand-in for the official {name} plugin, and {url} is not the sandbox."
        f" Install the official plugin (pulumi plugin install resource {name} {version}),"
        f" or set {INSIST}=1 to use the stand-in all the same."
    )


def retrying(
    operation: Operation[Backend],
    method: str,
    send: Callable[[], Answer],
    judge: Callable[[Exception], Failed],
) -> Answer:
    """Send a request, again after a growing pause where that is safe.

    A request whose answer was lost is repeated only when it reads: a POST may have bought a server.
    """
    gap_s = FIRST_GAP_S
    for left in reversed(range(MOST_TRIES)):
        try:
            return send()
        except Exception as error:  # the client's own errors; judged, and raised when final
            verdict = judge(error)
            repeat = verdict is Failed.LATER or (verdict is Failed.UNCLEAR and method == "GET")
            if not repeat or not left:
                raise
        operation.wait(gap_s)
        gap_s *= 2
    raise AssertionError("unreachable: the last try returns or raises")
