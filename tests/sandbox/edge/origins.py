"""Web servers for the edge to ask: one thread, any number of loopback addresses."""

import asyncio
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

T = TypeVar("T")


def make_key(directory: Path) -> tuple[Path, str]:
    """A key file, and a request for a certificate on it."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = directory / "origin-key.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    request = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
    signed = request.sign(key, hashes.SHA256())
    return path, signed.public_bytes(serialization.Encoding.PEM).decode()


def tls_context(certificate: str, key: Path) -> ssl.SSLContext:
    """A server's TLS context for a certificate (PEM)."""
    path = key.with_name("origin.pem")
    path.write_text(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return context


class Origins:
    """Servers with the routes below, until `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="origins")
        self._thread.start()
        self._runners: list[web.AppRunner] = []
        self.go_on = threading.Event()
        """Lets /stream tell its second part."""
        self.seen: list[str | None] = []
        """Subprotocols and endings of WebSockets, as the origin saw them."""

    def serve(self, address: str, port: int, context: ssl.SSLContext | None = None) -> None:
        self._run(self._serve(address, port, context))

    def close(self) -> None:
        self.go_on.set()
        for runner in self._runners:
            self._run(runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _serve(self, address: str, port: int, context: ssl.SSLContext | None) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/broken", self._broken)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/moved", self._moved)
        app.router.add_get("/bare/{status}", self._bare)
        app.router.add_get("/gzip", self._gzip)
        app.router.add_post("/digest", self._digest)
        app.router.add_route("*", "/{path:.*}", self._echo)
        runner = web.AppRunner(
            app, shutdown_timeout=0.2, auto_decompress=False, handler_cancellation=True
        )
        await runner.setup()
        await web.TCPSite(runner, address, port, ssl_context=context).start()
        self._runners.append(runner)

    async def _echo(self, request: web.Request) -> web.Response:
        connection = request.transport
        assert connection is not None
        told = {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "body": (await request.read()).decode(),
            "tls": connection.get_extra_info("ssl_object") is not None,
        }
        headers = {
            "Keep-Alive": "timeout=5",
            "Connection": "keep-alive, X-Private",
            "X-Private": "1",
        }
        return web.json_response(told, headers=headers | {"X-Origin": "yes", "Server": "Caddy"})

    async def _digest(self, request: web.Request) -> web.Response:
        digest, size = hashlib.sha256(), 0
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
        chunked = request.headers.get("Transfer-Encoding") == "chunked"
        told = {"sha256": digest.hexdigest(), "size": size, "chunked": chunked}
        return web.json_response(told)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"first")
        await asyncio.get_running_loop().run_in_executor(None, self.go_on.wait, 10)
        await response.write(b"second")
        return response

    async def _broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async def _slow(self, _: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def _moved(self, request: web.Request) -> web.Response:
        response = web.Response(status=302, headers={"Location": f"https://{request.host}/there"})
        response.headers.add("Set-Cookie", "a=1; Domain=clawdet.com; Secure")
        response.headers.add("Set-Cookie", "b=2; Path=/")
        return response

    async def _bare(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), headers={"ETag": '"x"'})

    async def _gzip(self, _: web.Request) -> web.Response:
        response = web.Response(text="so much text " * 500)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if "refuse" in request.query:
            return web.Response(status=403, text="not you")
        socket_: web.WebSocketResponse[bool] = web.WebSocketResponse(
            protocols=["v2", "v1"], max_msg_size=0
        )
        await socket_.prepare(request)
        self.seen.append(socket_.ws_protocol)
        async for message in socket_:
            if message.data == "close":
                await socket_.close(code=4001, message=b"enough")
            elif message.data == "vanish":
                assert request.transport is not None
                request.transport.abort()
            elif message.data == "headers":
                await socket_.send_str(json.dumps(dict(request.headers)))
            elif message.type is WSMsgType.TEXT:
                await socket_.send_str(message.data)
            else:
                await socket_.send_bytes(message.data)
        self.seen.append(f"closed {socket_.close_code}")
        return socket_


def free_port() -> int:
    """A port that is free on 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
