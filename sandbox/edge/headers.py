"""Which headers pass the edge, and which it adds."""

from collections.abc import Iterable, Mapping

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

from sandbox.edge.names import Names, Visit

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers of one connection, not of the message (RFC 9110, 7.6.1)."""

EDGE_ONLY = {"cf-connecting-ip", "cf-ray", "cf-visitor", "cdn-loop", "x-forwarded-proto"}
"""What a visitor may not claim: the edge sets them."""

HANDSHAKE = {
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-accept",
}
NAMED_BY_BROWSER = {"origin", "referer"}
NAMED_BY_ORIGIN = {"location", "content-location", "access-control-allow-origin", "set-cookie"}


def to_origin(
    request: web.BaseRequest, visit: Visit, names: Names, *, ray: str, proxied: bool, scheme: str
) -> CIMultiDict[str]:
    """The request's headers for the origin. `scheme`: what the visitor is said to have used."""
    dropped = {"host", "expect"} | HANDSHAKE | (EDGE_ONLY if proxied else set())
    sent = _end_to_end(request.headers, dropped)
    for name in NAMED_BY_BROWSER & {key.lower() for key in sent} if visit.alias else ():
        sent[name] = names.to_origin(sent[name])
    sent[hdrs.HOST] = visit.name
    if proxied:
        visitor = request.remote or "127.0.0.1"
        before = request.headers.getall(hdrs.X_FORWARDED_FOR, [])
        sent[hdrs.X_FORWARDED_FOR] = ", ".join([*before, visitor])
        sent[hdrs.X_FORWARDED_PROTO] = scheme
        sent["CF-Connecting-IP"] = visitor
        sent["CF-Ray"] = ray
        sent["CF-Visitor"] = f'{{"scheme":"{scheme}"}}'
        sent["CDN-Loop"] = "cloudflare; loops=1"
    return sent


def to_browser(
    received: CIMultiDictProxy[str], visit: Visit, names: Names, *, ray: str, proxied: bool
) -> CIMultiDict[str]:
    """The origin's response headers for the visitor."""
    dropped = HANDSHAKE | ({"server"} if proxied else set())
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in _end_to_end(received, dropped).items():
        translate = visit.alias and name.lower() in NAMED_BY_ORIGIN
        kept.add(name, names.to_browser(value, visit) if translate else value)
    if proxied:
        kept.update(edge_headers(ray))
    return kept


def edge_headers(ray: str) -> Mapping[str, str]:
    """What the edge puts on every answer."""
    return {"Server": "cloudflare", "CF-Ray": ray}


def protocols(request: web.BaseRequest) -> list[str]:
    """The WebSocket subprotocols that the visitor offers, best first."""
    offered = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, []))
    return [name.strip() for name in offered.split(",") if name.strip()]


def _end_to_end(headers: CIMultiDictProxy[str], dropped: Iterable[str]) -> CIMultiDict[str]:
    named = ",".join(headers.getall(hdrs.CONNECTION, [])).lower().split(",")
    without = HOP_BY_HOP | set(dropped) | {name.strip() for name in named}
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in without:
            kept.add(name, value)
    return kept
