"""Runs provider plugins as gRPC servers."""

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2_grpc

from sandbox.plugins.resource import Provider
from sandbox.plugins.servicer import ProviderServicer

NAMES = ("hcloud", "cloudflare", "command")

THREADS = 256
"""Operations at once; a thread is made only when needed. An engine asks for 16 at once, or one
per processor times four, so that a cancellation always finds a thread."""
STOP_S = 2.0
MESSAGE_BYTES = 400 * 1024 * 1024  # as every Pulumi plugin
LOOK_S = 1.0


def load(name: str) -> Provider[Any]:
    """The provider of that name; only its own modules are imported."""
    module = import_module(f"sandbox.plugins.{name}.provider")
    provider: Provider[Any] = module.PROVIDER
    return provider


class PluginServer:
    """One provider on a free port of loopback."""

    def __init__(self, provider: Provider[Any], engine_address: str = "") -> None:
        self._servicer = ProviderServicer(provider, engine_address)
        options = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
        ]
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix=provider.name)
        self._server = grpc.server(pool, options=options)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(self._servicer, self._server)
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        """End every wait, then the server; returns when no request is left."""
        self._servicer.connections.cancel_all()
        self._server.stop(STOP_S).wait()


Line = Callable[[dict[str, PluginServer]], str]
"""Makes the line to print from the servers."""


def serve_one(name: str, engine_address: str = "") -> None:
    """Serve one provider until SIGTERM or SIGINT; prints its port, as the engine expects."""
    _serve([name], lambda servers: str(servers[name].port), engine_address)


def serve_all() -> None:
    """Serve every provider in this process until SIGTERM or SIGINT; prints one line for
    PULUMI_DEBUG_PROVIDERS (`hcloud:PORT,cloudflare:PORT,command:PORT`)."""
    _serve(
        list(NAMES),
        lambda servers: ",".join(f"{name}:{server.port}" for name, server in servers.items()),
    )


def main(name: str) -> None:
    """A plugin's executable. The engine gives its address; without it we wait to be attached."""
    serve_one(name, engine_address_of(sys.argv[1:]))
    leave()


def leave() -> NoReturn:
    """End the process at once, with nothing left to do: taking the interpreter and its modules
    down takes 0.1 s, and an engine waits for the end of each plugin in turn."""
    sys.stdout.flush()
    os._exit(0)


def engine_address_of(arguments: list[str]) -> str:
    """The engine's address on a plugin's command line, "" when there is none."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def hear_signals() -> "SimpleQueue[int]":
    """Every SIGTERM and SIGINT from now on. Call it in the main thread."""
    # Not an Event: its lock may be the main thread's own when a handler wants it.
    heard: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: heard.put(number))
    return heard


def wait_for_the_end(heard: "SimpleQueue[int]", with_parent: bool) -> None:
    """Wait for a signal, or, `with_parent`, until the process that started us is gone: an engine
    that was killed can't end its plugins. Call it in the main thread."""
    parent = os.getppid()
    while not with_parent or os.getppid() == parent:
        with suppress(Empty):  # a signal that comes just as we lie down doesn't wake us: look up
            heard.get(timeout=LOOK_S)
            return


def _serve(names: list[str], line: Line, engine_address: str = "") -> None:
    heard = hear_signals()  # before anybody is told that we serve
    servers = {name: PluginServer(load(name), engine_address) for name in names}
    print(line(servers), flush=True)
    wait_for_the_end(heard, with_parent=bool(engine_address))
    for server in servers.values():
        server.stop()
