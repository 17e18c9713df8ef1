"""The edge itself: takes a visitor's request, asks the origin, and tells the answer."""

import logging
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from sandbox.edge import faults, headers
from sandbox.edge.faults import Fault, OriginFault
from sandbox.edge.names import Names, Visit
from sandbox.edge.pages import page
from sandbox.edge.resolver import Resolver, ResolverError, Route
from sandbox.edge.tls import OriginTls
from sandbox.edge.websockets import relay_messages

LOG = logging.getLogger("sandbox.edge")
# Not ours to add: the visitor's request is passed on as it is.
AUTOMATIC_HEADERS = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT)


@dataclass(frozen=True)
class EdgeSettings:
    """`api`: the Cloudflare API's base URL. `directory`: where the Origin CA's files are.

    Cloudflare waits 19 s for a connection and 100 s for an answer; here a connection that takes
    5 s is dead, since everything is on this machine. The ports are the vendor's.
    """

    api: str
    token: str
    zone_id: str
    domain: str
    directory: Path
    connect_timeout_s: float = 5.0
    answer_timeout_s: float = 100.0
    https_port: int = 443
    http_port: int = 80


@dataclass(frozen=True)
class Passage:
    """One request's way through the edge."""

    visit: Visit
    route: Route
    ray: str
    port: int
    context: ssl.SSLContext | None
    """How to speak TLS to the origin; None for plain HTTP."""

    def url(self, request: web.BaseRequest) -> URL:
        """The request's target at the origin's address, its encoding untouched."""
        scheme = "https" if self.context else "http"
        host = f"[{self.route.address}]" if ":" in self.route.address else self.route.address
        target = request.rel_url.raw_path_qs
        return URL(f"{scheme}://{host}:{self.port}{target}", encoded=True)


class Edge:
    """Handles every request of the edge; `origins` is its HTTP client (see `origin_session`)."""

    def __init__(
        self, settings: EdgeSettings, resolver: Resolver, origins: aiohttp.ClientSession
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._origins = origins
        self._names = Names(settings.domain)
        self._tls = OriginTls(settings.directory)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The origin's answer, or a page that says why there is none."""
        ray = f"{secrets.token_hex(8)}-HEL"
        visit = self._names.visit(request.host)
        try:
            if visit is None:
                raise OriginFault(faults.NOT_OURS)
            return await self._pass_on(request, await self._passage(visit, ray))
        except OriginFault as error:
            return page(error.fault, name=visit.name if visit else request.host, ray=ray)
        except ResolverError:
            LOG.exception("the zone can't be read")
            return page(faults.EDGE_FAILED, name=request.host, ray=ray)

    async def _passage(self, visit: Visit, ray: str) -> Passage:
        route = await self._resolver.route(visit.name)
        if route is None:
            raise OriginFault(faults.NO_RECORD)
        if not route.reachable:
            raise OriginFault(faults.UNREACHABLE)
        if not route.proxied or route.ssl_mode in ("off", "flexible"):
            return Passage(visit, route, ray, self._settings.http_port, None)
        context = self._tls.context(verify=route.ssl_mode == "strict")
        return Passage(visit, route, ray, self._settings.https_port, context)

    async def _pass_on(self, request: web.BaseRequest, passage: Passage) -> web.StreamResponse:
        upgrade = request.headers.get(hdrs.UPGRADE, "").lower()
        try:
            if request.method == hdrs.METH_GET and upgrade == "websocket":
                upstream = await self._ask_websocket(request, passage)
            else:
                answer = await self._ask(request, passage)
                upstream = None
        except aiohttp.WSServerHandshakeError as refusal:
            return self._refused(refusal, passage)
        except aiohttp.ClientError as error:
            LOG.info("%s: %r", passage.visit.name, error)
            raise OriginFault(await self._diagnose(error, passage)) from error
        if upstream is not None:
            return await relay_messages(request, upstream)
        return await self._tell(request, answer, passage)

    def _sent_headers(self, request: web.BaseRequest, passage: Passage) -> CIMultiDict[str]:
        return headers.to_origin(
            request,
            passage.visit,
            self._names,
            ray=passage.ray,
            proxied=passage.route.proxied,
            # With SSL off, Cloudflare sends visitors to plain HTTP.
            scheme="http" if passage.route.ssl_mode == "off" else "https",
        )

    def _told_headers(self, received: CIMultiDictProxy[str], passage: Passage) -> CIMultiDict[str]:
        return headers.to_browser(
            received,
            passage.visit,
            self._names,
            ray=passage.ray,
            proxied=passage.route.proxied,
        )

    async def _ask(self, request: web.BaseRequest, passage: Passage) -> aiohttp.ClientResponse:
        return await self._origins.request(
            request.method,
            passage.url(request),
            headers=self._sent_headers(request, passage),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            ssl=passage.context or False,
            server_hostname=passage.visit.name if passage.context else None,
        )

    async def _ask_websocket(
        self, request: web.BaseRequest, passage: Passage
    ) -> "aiohttp.ClientWebSocketResponse[bool]":
        return await self._origins.ws_connect(
            passage.url(request),
            headers=self._sent_headers(request, passage),
            protocols=headers.protocols(request),
            ssl=passage.context or False,
            server_hostname=passage.visit.name if passage.context else None,
            autoclose=False,
            autoping=False,
            max_msg_size=0,
            decode_text=False,
        )

    async def _tell(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, passage: Passage
    ) -> web.StreamResponse:
        """Pass the answer on as it comes."""
        told = self._told_headers(answer.headers, passage)
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=told)
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        except aiohttp.ClientError as error:
            # The head is out: the visitor can only learn of this by a connection that breaks.
            LOG.info("%s: answer broken off: %r", passage.visit.name, error)
            if request.transport is not None:
                request.transport.abort()
        finally:
            answer.close()
        return response

    def _refused(
        self, refusal: aiohttp.WSServerHandshakeError, passage: Passage
    ) -> web.StreamResponse:
        """An origin's answer to a handshake that isn't 101, without its body (never read)."""
        received = CIMultiDictProxy(CIMultiDict(refusal.headers or {}))
        told = self._told_headers(received, passage)
        for name in (hdrs.CONTENT_LENGTH, hdrs.CONTENT_ENCODING, hdrs.CONTENT_TYPE):
            told.popall(name, None)
        return web.Response(status=refusal.status, headers=told)

    async def _diagnose(self, error: aiohttp.ClientError, passage: Passage) -> Fault:
        if not passage.route.proxied:
            return faults.NOT_PROXIED
        fault = faults.diagnose(error, tls=passage.context is not None)
        if fault is not faults.TIMED_OUT or passage.context is None:
            return fault
        timeout_s = self._settings.connect_timeout_s
        listens = await faults.accepts(passage.route.address, passage.port, timeout_s)
        return faults.NO_HANDSHAKE if listens else fault


def origin_session(settings: EdgeSettings) -> aiohttp.ClientSession:
    """The HTTP client towards origins: a new connection each time, so that every answer tells of
    the origin as it is now, and bodies and headers exactly as they come."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        timeout=aiohttp.ClientTimeout(
            total=None,
            sock_connect=settings.connect_timeout_s,
            sock_read=settings.answer_timeout_s,
        ),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=AUTOMATIC_HEADERS,
    )
