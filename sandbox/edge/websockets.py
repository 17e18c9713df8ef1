"""Frames of a WebSocket passed on in both directions, pings and closes included."""

import asyncio
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

FRAMES = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)
Upstream = aiohttp.ClientWebSocketResponse[bool]
Downstream = web.WebSocketResponse[bool]
CLOSE_S = 20.0  # longer than aiohttp waits for the answer to a close frame


async def relay_messages(request: web.BaseRequest, upstream: Upstream) -> web.StreamResponse:
    """Complete the visitor's handshake with what the origin agreed to, and relay until one side
    closes. A side that vanishes without a close frame makes the other's connection break too."""
    agreed = (upstream.protocol,) if upstream.protocol else ()
    downstream: Downstream = web.WebSocketResponse(
        protocols=agreed,
        autoclose=False,
        autoping=False,
        compress=False,
        max_msg_size=0,
        decode_text=False,
    )
    try:
        await downstream.prepare(request)
        clean = await _relay(upstream, downstream)
    finally:
        await upstream.close(code=aiohttp.WSCloseCode.GOING_AWAY)
    if not clean and request.transport is not None:
        request.transport.abort()
    return downstream


async def _relay(upstream: Upstream, downstream: Downstream) -> bool:
    """Both directions until one ends; whether that was a close, and the other side answered it."""
    pumps = [
        asyncio.create_task(_pump(upstream, downstream)),
        asyncio.create_task(_pump(downstream, upstream)),
    ]
    try:
        ended, other = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if other and all(map(_is_clean, ended)):  # the other one may be passing it on
            await asyncio.wait(other, timeout=CLOSE_S)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    return all(map(_is_clean, pumps))


def _is_clean(pump: "asyncio.Task[bool]") -> bool:
    return not pump.cancelled() and pump.exception() is None and pump.result()


async def _pump(source: Any, sink: Any) -> bool:
    """Pass frames on until `source` ends; whether it ended with a close frame, of its own (also
    passed on) or of the other pump's."""
    while True:
        message = await source.receive()
        if message.type in FRAMES:
            await sink.send_frame(message.data, message.type)
        elif message.type is WSMsgType.CLOSE:
            # aiohttp reads a frame without a code as 0, and can't send one.
            code = message.data or aiohttp.WSCloseCode.OK
            reason = (message.extra or "").encode()
            await sink.close(code=code, message=reason)
            await source.close(code=code, message=reason)
            return True
        else:
            return message.type is WSMsgType.CLOSING
