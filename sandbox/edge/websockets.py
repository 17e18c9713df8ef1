"""Frames of a WebSocket passed on in both directions, pings and closes included."""

import asyncio
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

FRAMES = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)
Upstream = aiohttp.ClientWebSocketResponse[bool]
Downstream = web.WebSocketResponse[bool]
NO_STATUS = 1005
"""A close frame without a code (RFC 6455, 7.1.5); aiohttp reads it as 0 and can't send one."""


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
        pumps = [
            asyncio.create_task(_pump(upstream, downstream)),
            asyncio.create_task(_pump(downstream, upstream)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            results = await asyncio.gather(*pumps, return_exceptions=True)
    finally:
        await upstream.close(code=aiohttp.WSCloseCode.GOING_AWAY)
    if True not in results and request.transport is not None:
        request.transport.abort()
    return downstream


async def _pump(source: Any, sink: Any) -> bool:
    """Pass frames on until `source` ends; whether it ended with a close frame, also passed on."""
    while True:
        message = await source.receive()
        if message.type in FRAMES:
            await sink.send_frame(message.data, message.type)
        elif message.type is WSMsgType.CLOSE:
            code = message.data or aiohttp.WSCloseCode.OK
            reason = (message.extra or "").encode()
            await sink.close(code=code, message=reason)
            await source.close(code=code, message=reason)
            return True
        else:
            return False
