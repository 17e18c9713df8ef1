"""Copies TCP connections between the host's loopback and the machines' network."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Dial = Callable[[], socket.socket]

BUFFER_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 10.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: close() sends RST


class Forward:
    """A listening socket whose connections are passed on; ends with `close`."""

    def __init__(self, relay: "Relay", task: asyncio.Task[None]) -> None:
        self._relay = relay
        self._task = task

    def close(self) -> None:
        """Stop listening and reset every connection; returns when that is done."""
        self._relay.call(_cancel(self._task))


class Relay:
    """One thread with an event loop for all forwards. Thread-safe."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def forward(self, listener: socket.socket, dial: Dial, target: tuple[str, int]) -> Forward:
        """Pass on connections to `listener` (bound and listening, now ours) to `target`.

        `dial` makes the unconnected socket for the other side, in the right network namespace. A
        connection that can't be passed on is reset at once.
        """
        listener.setblocking(False)
        return self.call(self._start(listener, dial, target))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the relay's thread, for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Stop the thread; every forward must be closed before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _start(self, listener: socket.socket, dial: Dial, target: tuple[str, int]) -> Forward:
        return Forward(self, asyncio.create_task(_serve(listener, dial, target)))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _serve(listener: socket.socket, dial: Dial, target: tuple[str, int]) -> None:
    """Accept until cancelled; on leaving, no socket and no connection is left."""
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()
    try:
        while True:
            try:
                client, _ = await loop.sock_accept(listener)
            except OSError:  # out of descriptors, or the peer has gone again
                await asyncio.sleep(0.05)
                continue
            task = asyncio.create_task(_connect(client, dial, target))
            connections.add(task)
            task.add_done_callback(connections.discard)
    finally:
        listener.close()
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections)


async def _connect(client: socket.socket, dial: Dial, target: tuple[str, int]) -> None:
    """Carry one connection until both sides are done, or reset both."""
    sockets = [client]
    clean = False
    try:
        server = dial()
        sockets.append(server)
        for each in sockets:
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(server, target)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(client, server))
            both.create_task(_pump(server, client))
        clean = True
    except* OSError:
        pass  # refused, reset, timed out: the peer learns it by the reset below
    finally:
        for each in sockets:
            if not clean:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            each.close()


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction to its end; reads no faster than the other side takes it."""
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(BUFFER_BYTES))
    while count := await loop.sock_recv_into(source, buffer):
        await loop.sock_sendall(sink, buffer[:count])
    sink.shutdown(socket.SHUT_WR)
