"""The engine at the other end of one connection: its log, and whether it was interrupted."""

import threading
import time
from typing import Literal

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from sandbox.plugins.errors import CancelledError, PluginError

Severity = Literal["debug", "info", "warning", "error"]

LOG_TIMEOUT_S = 5.0
POLL_S = 0.2
"""How soon a wait notices an interrupted engine."""


class Engine:
    """One engine's log service and cancellation. Safe to use from any thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cancelled = threading.Event()
        self._channel: grpc.Channel | None = None
        self._lock = threading.Lock()

    def log(self, severity: Severity, message: str, urn: str = "", passing: bool = False) -> None:
        """Show a message; `passing` replaces the last such message instead of adding a line.

        An engine that went away while we worked is no error of the work.
        """
        if not self._address:
            return
        request = engine_pb2.LogRequest(
            severity=engine_pb2.LogSeverity.Value(severity.upper()),
            message=message,
            urn=urn,
            ephemeral=passing,
        )
        try:
            self._stub().Log(request, timeout=LOG_TIMEOUT_S)
        except (grpc.RpcError, ValueError) as error:
            # ValueError: the channel was closed by another thread.
            if not self.cancelled and not isinstance(error, grpc.RpcError):
                raise

    @property
    def cancelled(self) -> bool:
        """Whether the engine was interrupted."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End every wait of this connection's operations."""
        self._cancelled.set()

    def wait(self, seconds: float, deadline: float | None = None) -> None:
        """Sleep; `deadline` is on time.monotonic()'s clock.

        Raises CancelledError as soon as the engine is interrupted, PluginError at the deadline.
        """
        if deadline is not None and time.monotonic() + seconds > deadline:
            raise PluginError("timeout while waiting: the operation's time is over")
        if self._cancelled.wait(seconds):
            raise CancelledError

    def close(self) -> None:
        """Let go of the connection to the engine."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    def _stub(self) -> engine_pb2_grpc.EngineStub:
        with self._lock:
            if self._channel is None:
                self._channel = grpc.insecure_channel(self._address)
            return engine_pb2_grpc.EngineStub(self._channel)
