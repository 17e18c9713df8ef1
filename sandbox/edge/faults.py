"""What can be wrong between edge and origin, under Cloudflare's numbers.

Source of the numbers and their causes: Cloudflare's documentation of its 5xx and 1xxx errors.
"""

import asyncio
import errno
from dataclasses import dataclass
from typing import Literal

import aiohttp


@dataclass(frozen=True)
class Fault:
    """`code` is what people look up, `status` what HTTP says, `broken` where it went wrong."""

    code: int
    status: int
    title: str
    cause: str
    remedy: str
    broken: Literal["edge", "origin"]


class OriginFault(Exception):
    """The origin could not be asked; carries the fault to show."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.title)
        self.fault = fault


NOT_OURS = Fault(
    1003,
    403,
    "This address is not a site",
    "The edge serves the names of one zone, and this request was for none of them.",
    "Open http://SLUG.clawdet.localhost with this port instead.",
    "edge",
)
NO_RECORD = Fault(
    1016,
    530,
    "The name leads nowhere",
    "The zone has no A, AAAA or CNAME record for this name, or its CNAME leads out of the zone.",
    "Create the DNS record, or run the stack again: a repaired record works within a second.",
    "edge",
)
EDGE_FAILED = Fault(
    500,
    500,
    "The edge itself failed",
    "It could not read the zone from the Cloudflare API, or met an error of its own.",
    "Run python -m sandbox status; edge.log in the sandbox's directory has the details.",
    "edge",
)
NOT_PROXIED = Fault(
    502,
    502,
    "The server did not answer",
    "The record is not proxied: a browser would be talking to the server itself, on port 80.",
    "Check that the server is on and serves plain HTTP, or set the record to proxied.",
    "origin",
)
UNKNOWN = Fault(
    520,
    520,
    "The server answered with something unknown",
    "It took the connection and then broke it off, or its answer was not HTTP.",
    "Look into the web server's log on the origin.",
    "origin",
)
REFUSED = Fault(
    521,
    521,
    "The server refused the connection",
    "Nothing listens on the origin's port: the server is off, or its web server is not running.",
    "Switch the server on, or start its web server.",
    "origin",
)
TIMED_OUT = Fault(
    522,
    522,
    "The connection timed out",
    "The origin did not complete a TCP connection in time. A firewall may drop the packets.",
    "Check the server's load and its firewall.",
    "origin",
)
UNREACHABLE = Fault(
    523,
    523,
    "The origin is unreachable",
    "There is no route to the record's address. (The sandbox never leaves loopback.)",
    "Check that the DNS record holds the server's current address.",
    "origin",
)
NO_ANSWER = Fault(
    524,
    524,
    "The server took too long",
    "The connection stands, but no answer came in time.",
    "Look at what the server is busy with.",
    "origin",
)
NO_HANDSHAKE = Fault(
    525,
    525,
    "The TLS handshake failed",
    "The origin took the connection, but edge and origin could not agree on TLS.",
    "Check that the web server speaks TLS on port 443 and has a certificate for this name.",
    "origin",
)
BAD_CERTIFICATE = Fault(
    526,
    526,
    "The certificate is not valid",
    "SSL mode is strict, and the origin's certificate is expired, revoked, for another name,"
    " or not signed by the Origin CA.",
    "Install a certificate of the Origin CA for this name.",
    "origin",
)

UNREACHABLE_ERRORS = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EINVAL)


def diagnose(error: Exception, *, tls: bool) -> Fault:
    """The fault that an exception of aiohttp's client stands for. `tls`: the edge spoke TLS."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return BAD_CERTIFICATE
        case aiohttp.ClientSSLError():
            return NO_HANDSHAKE
        case aiohttp.ClientConnectorError(os_error=OSError(errno=errno.ECONNREFUSED)):
            return REFUSED
        case aiohttp.ClientConnectorError(os_error=OSError(errno=errno.ETIMEDOUT)):
            return TIMED_OUT
        case aiohttp.ClientConnectorError(os_error=OSError(errno=number)) if (
            number in UNREACHABLE_ERRORS
        ):
            return UNREACHABLE
        case aiohttp.ClientConnectorError():
            return NO_HANDSHAKE if tls else UNKNOWN
        case aiohttp.ConnectionTimeoutError():
            return TIMED_OUT
        case aiohttp.ServerTimeoutError():
            return NO_ANSWER
        case _:
            return UNKNOWN


async def accepts(address: str, port: int, timeout_s: float) -> bool:
    """Whether a bare TCP connection succeeds.

    aiohttp has one time-out for connection and handshake: this tells a silent TLS server (525)
    from a silent host (522).
    """
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(address, port)
    except OSError:  # TimeoutError included
        return False
    writer.transport.abort()
    return True
