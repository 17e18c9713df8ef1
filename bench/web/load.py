"""A load on loopback: so many requests at a time, each with its own duration kept."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp


@dataclass(frozen=True)
class Sending:
    """A request: its method, URL, headers, body."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True)
class Measured:
    """Requests per second, and the durations in milliseconds below which half and 95 % are."""

    per_second: float
    p50_ms: float
    p95_ms: float
    failed: int


def measure(make: Callable[[int], Sending], number: int, at_once: int) -> Measured:
    """Send `number` requests, `at_once` at a time; `make` gives the n-th."""
    return asyncio.run(_measure(make, number, at_once))


async def _measure(make: Callable[[int], Sending], number: int, at_once: int) -> Measured:
    took_ms: list[float] = []
    failed = 0
    remaining = iter(range(number))

    async def one_after_the_other(client: aiohttp.ClientSession) -> None:
        nonlocal failed
        for index in remaining:
            asked = make(index)
            began = time.perf_counter()
            async with client.request(
                asked.method, asked.url, headers=asked.headers, data=asked.body
            ) as answer:
                await answer.read()
                failed += answer.status != 200
            took_ms.append((time.perf_counter() - began) * 1000)

    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector) as client:
        began = time.perf_counter()
        await asyncio.gather(*(one_after_the_other(client) for _ in range(at_once)))
        seconds = time.perf_counter() - began
    took_ms.sort()
    half, most = took_ms[len(took_ms) // 2], took_ms[int(len(took_ms) * 0.95)]
    return Measured(number / seconds, half, most, failed)


async def hold_streams(url: str, headers: Mapping[str, str], number: int, seconds: float) -> int:
    """Open `number` event streams at once and keep them; how many had sent something by then."""
    alive = 0

    async def one(client: aiohttp.ClientSession) -> None:
        nonlocal alive
        async with client.get(url, headers=headers) as answer:
            if answer.status != 200:
                return
            await answer.content.readany()
            alive += 1
            await asyncio.sleep(seconds)

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:
        await asyncio.gather(*(one(client) for _ in range(number)))
    return alive
