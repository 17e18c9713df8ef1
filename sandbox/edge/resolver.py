"""Where a name leads, as the zone's records and SSL mode say now.

The edge asks the Cloudflare API like any of its customers. An answer is used for half a second;
when the API fails (it may have been told to), the last answer is used however old it is.
"""

import asyncio
import ipaddress
import time
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from yarl import URL

SslMode = Literal["off", "flexible", "full", "strict"]
FRESH_S = 0.5
API_TIMEOUT_S = 3.0
MAX_CNAMES = 8
MAX_KEPT = 1000


@dataclass(frozen=True)
class Route:
    """The origin's IP address, and how to speak to it."""

    address: str
    proxied: bool
    ssl_mode: SslMode

    @property
    def reachable(self) -> bool:
        """Whether the sandbox goes there: it never leaves loopback."""
        return ipaddress.ip_address(self.address).is_loopback


class ResolverError(Exception):
    """The Cloudflare API gave no answer, and there is no earlier one to use."""


class Resolver:
    """Looks names up in one zone. `api` is the base URL, ending in `/client/v4/`."""

    def __init__(self, session: aiohttp.ClientSession, api: str, token: str, zone_id: str) -> None:
        self._session = session
        self._zone = URL(api) / "zones" / zone_id
        self._headers = {
            "Authorization": f"Bearer {token}",
            "User-Agent": "clawdet-sandbox-edge",
        }
        self._kept: dict[str, tuple[float, Any]] = {}

    async def route(self, name: str) -> Route | None:
        """Where `name` leads; None when it has no address. Raises ResolverError."""
        mode, found = await asyncio.gather(self._ssl_mode(), self._address(name))
        return Route(found[0], found[1], mode) if found else None

    async def _ssl_mode(self) -> SslMode:
        setting = await self._ask(self._zone / "settings" / "ssl")
        mode: SslMode = setting["value"]
        return mode

    async def _address(self, name: str) -> tuple[str, bool] | None:
        """The address and whether the asked name itself is proxied, through any CNAMEs."""
        proxied: bool | None = None
        for _ in range(MAX_CNAMES):
            records = await self._ask((self._zone / "dns_records").with_query(name=name))
            used = next((r for r in records if r["type"] in ("A", "AAAA", "CNAME")), None)
            if used is None:
                return None
            proxied = used["proxied"] if proxied is None else proxied
            if used["type"] != "CNAME":
                return used["content"], proxied
            name = used["content"]
        return None

    async def _ask(self, url: URL) -> Any:
        key = str(url)
        when, result = self._kept.get(key, (float("-inf"), None))
        if time.monotonic() - when < FRESH_S:
            return result
        try:
            result = await self._fetch(url)
        except (aiohttp.ClientError, TimeoutError, ResolverError) as error:
            if key not in self._kept:
                raise ResolverError(f"no answer from {url}: {error!r}") from error
            return result
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[key] = (time.monotonic(), result)
        return result

    async def _fetch(self, url: URL) -> Any:
        timeout = aiohttp.ClientTimeout(total=API_TIMEOUT_S)
        async with self._session.get(url, headers=self._headers, timeout=timeout) as response:
            if response.status != 200:
                raise ResolverError(f"HTTP {response.status}")
            return (await response.json())["result"]
