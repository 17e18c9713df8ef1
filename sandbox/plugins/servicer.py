"""Pulumi's ResourceProvider service (provider.proto) for one provider and any number of engines.

The protocol's requests name no provider instance: a configuration belongs to the connection it came
over. An engine opens one connection per provider instance, so everything configured is kept by the
peer's address, and engines that share this server never see each other's settings.

It builds on the generated service and not on `pulumi.provider.experimental.server`, which drops the
old inputs, asset hashes and unknown values of a request, has no way to report a half-made resource,
puts a stack trace into every error, and has one configuration for all connections.
"""

# ruff: noqa: ARG002  (the signatures are gRPC's)

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import errors_pb2 as _errors_pb2  # noqa: F401  (registers its types)
from pulumi.runtime.proto import (
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from sandbox.plugins.diffing import Diff
from sandbox.plugins.engine import Engine
from sandbox.plugins.errors import CancelledError, InitFailedError, PluginError
from sandbox.plugins.resource import Backend, Known, Operation, Provider, Resource
from sandbox.plugins.schema import Failure
from sandbox.plugins.values import Props, contains_unknown, decode, encode

Context: TypeAlias = Any
"""grpc.ServicerContext, which has no type stubs here."""
Response = TypeVar("Response")

IDLE_CONNECTION_S = 3600.0
"""An engine's connection that was silent so long is closed (gRPC's clients idle out sooner)."""


@dataclass
class Connection(Generic[Backend]):
    """What one provider instance of one engine told us."""

    engine: Engine
    backend: Backend | None = None
    busy: int = 0
    seen: float = field(default_factory=time.monotonic)


class Connections(Generic[Backend]):
    """Connections by peer address."""

    def __init__(self) -> None:
        self._by_peer: dict[str, Connection[Backend]] = {}
        self._lock = threading.Lock()

    def open(self, peer: str, engine: Engine) -> Connection[Backend]:
        """A new connection; whatever an earlier one from the same port had said is forgotten."""
        now = time.monotonic()
        with self._lock:
            old = self._by_peer.pop(peer, None)
            stale = [
                key
                for key, found in self._by_peer.items()
                if not found.busy and now - found.seen > IDLE_CONNECTION_S
            ]
            gone = [self._by_peer.pop(key) for key in stale] + ([old] if old else [])
            made = Connection[Backend](engine)
            self._by_peer[peer] = made
        for connection in gone:
            connection.engine.close()
        return made

    def get(self, peer: str) -> Connection[Backend] | None:
        """The connection of a peer that said hello."""
        with self._lock:
            return self._by_peer.get(peer)

    def mark(self, connection: Connection[Backend], change: int) -> None:
        """Count an operation that begins (+1) or ends (-1)."""
        with self._lock:
            connection.busy += change
            connection.seen = time.monotonic()

    def cancel_all(self) -> None:
        """End every wait of every engine."""
        with self._lock:
            found = list(self._by_peer.values())
        for connection in found:
            connection.engine.cancel()


class ProviderServicer(provider_pb2_grpc.ResourceProviderServicer, Generic[Backend]):
    """Answers the engine's requests; `engine_address` is known when the engine started us."""

    def __init__(self, provider: Provider[Backend], engine_address: str = "") -> None:
        self._provider = provider
        self._engine_address = engine_address
        self.connections: Connections[Backend] = Connections()

    # The connection.

    def Handshake(self, request: Any, context: Context) -> Any:
        """Open a connection. Secrets, resource references and outputs are declined: see values."""
        self.connections.open(context.peer(), Engine(request.engine_address))
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Context) -> Any:
        """An engine that attached to a running server gives its address."""
        if self.connections.get(context.peer()) is None:
            self.connections.open(context.peer(), Engine(request.address))
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Context) -> Any:
        """Name the version we stand in for."""
        return plugin_pb2.PluginInfo(version=self._provider.version)

    def GetSchema(self, request: Any, context: Context) -> Any:
        """The schema of what we serve."""
        return provider_pb2.GetSchemaResponse(schema=json.dumps(self._provider.schema()))

    def Cancel(self, request: Any, context: Context) -> Any:
        """The engine was interrupted: end this connection's waits, and no other's."""
        self._connection(context).engine.cancel()
        return empty_pb2.Empty()

    # The provider's own settings.

    def CheckConfig(self, request: Any, context: Context) -> Any:
        """Check the settings."""
        config = decode(request.news)
        return _checked(config, self._provider.check_config(config))

    def DiffConfig(self, request: Any, context: Context) -> Any:
        """A changed setting updates the provider; none replaces resources."""
        old, new = decode(request.olds), decode(request.news)
        known = (name for name in self._provider.config if old.get(name) != new.get(name))
        changed = list(known)
        update = provider_pb2.PropertyDiff(kind=provider_pb2.PropertyDiff.UPDATE)
        return provider_pb2.DiffResponse(
            changes=_changes(bool(changed)),
            diffs=changed,
            detailedDiff=dict.fromkeys(changed, update),
            hasDetailedDiff=True,
        )

    def Configure(self, request: Any, context: Context) -> Any:
        """Settings of this connection."""
        connection = self._connection(context)
        config = {key: _parse(value) for key, value in decode(request.args).items()}
        with _Answering(context):
            connection.backend = self._provider.configure(config)
        connection.engine.log(
            "debug", f"{self._provider.name}: Clawdet's stand-in for the official plugin"
        )
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    # Resources.

    def Check(self, request: Any, context: Context) -> Any:
        """Check a resource's inputs."""
        resource = self._resource(request.urn, context)
        where = request.urn.rsplit("::", 1)[-1]
        with _Answering(context):
            checked = resource.check(
                where, decode(request.olds), decode(request.news), request.randomSeed
            )
        return _checked(checked.inputs, checked.failures)

    def Diff(self, request: Any, context: Context) -> Any:
        """Compare a resource's state with new inputs."""
        resource = self._resource(request.urn, context)
        state, new = decode(request.olds), decode(request.news)
        old_inputs = decode(request.old_inputs)
        with _Answering(context):
            diff = resource.diff(old_inputs, state, new)
        return _diff_response(diff.without(request.ignoreChanges))

    def Create(self, request: Any, context: Context) -> Any:
        """Make a resource, or say what making it would give."""
        resource = self._resource(request.urn, context)
        inputs = decode(request.properties)
        if request.preview:
            outputs = resource.preview(inputs, None)
            return provider_pb2.CreateResponse(id="", properties=encode(outputs))
        live = self._run(request, context, lambda operation: resource.create(operation, inputs))
        return provider_pb2.CreateResponse(id=live.resource_id, properties=encode(live.outputs))

    def Read(self, request: Any, context: Context) -> Any:
        """See what a resource is like now; an empty answer means that it is gone."""
        resource = self._resource(request.urn, context)
        known = Known(request.id, decode(request.inputs), decode(request.properties))
        live = self._run(request, context, lambda operation: resource.read(operation, known))
        if live is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=live.resource_id,
            properties=encode(live.outputs),
            inputs=encode(resource.inputs_of(live.outputs, known.inputs)),
        )

    def Update(self, request: Any, context: Context) -> Any:
        """Change a resource in place, or say what that would give."""
        resource = self._resource(request.urn, context)
        inputs, state = decode(request.news), decode(request.olds)
        if request.preview or contains_unknown(inputs):
            return provider_pb2.UpdateResponse(properties=encode(resource.preview(inputs, state)))
        known = Known(request.id, decode(request.old_inputs), state)
        outputs = self._run(
            request, context, lambda operation: resource.update(operation, known, inputs)
        )
        return provider_pb2.UpdateResponse(properties=encode(outputs))

    def Delete(self, request: Any, context: Context) -> Any:
        """Delete a resource."""
        resource = self._resource(request.urn, context)
        known = Known(request.id, decode(request.old_inputs), decode(request.properties))
        self._run(request, context, lambda operation: resource.delete(operation, known))
        return empty_pb2.Empty()

    # What they share.

    def _connection(self, context: Context) -> Connection[Backend]:
        found = self.connections.get(context.peer())
        if found is None:
            # An engine older than the handshake, or one that attached: it is known from argv.
            found = self.connections.open(context.peer(), Engine(self._engine_address))
        return found

    def _resource(self, urn: str, context: Context) -> Resource[Backend]:
        token = urn.split("::")[2].rsplit("$", 1)[-1]
        found = self._provider.resources.get(token)
        if found is None:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                f"{token} is not served by Clawdet's stand-in for the {self._provider.name} plugin."
                f" Install the official one: pulumi plugin install resource {self._provider.name}"
                f" {self._provider.version}",
            )
            raise AssertionError("unreachable: abort raises")
        return found

    def _run(
        self, request: Any, context: Context, work: Callable[[Operation[Backend]], Response]
    ) -> Response:
        connection = self._connection(context)
        if connection.backend is None:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"{self._provider.name}: this connection was never configured",
            )
            raise AssertionError("unreachable: abort raises")
        timeout_s = getattr(request, "timeout", 0.0)
        operation = Operation(connection.backend, connection.engine, request.urn, timeout_s)
        self.connections.mark(connection, +1)
        try:
            with _Answering(context):
                return work(operation)
        finally:
            self.connections.mark(connection, -1)


class _Answering:
    """Turns our errors into the protocol's answers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, InitFailedError):
            _abort_half_made(self._context, error)
        if isinstance(error, CancelledError):
            self._context.abort(grpc.StatusCode.CANCELLED, str(error))
        if isinstance(error, PluginError):
            self._context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _abort_half_made(context: Context, error: InitFailedError) -> NoReturn:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.resource_id, properties=encode(error.outputs), reasons=[str(error)]
    )
    code = grpc.StatusCode.UNKNOWN
    status = status_pb2.Status(code=code.value[0], message=str(error))
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, str(error))
    raise AssertionError("unreachable: abort raises")


def _checked(inputs: Props, failures: list[Failure]) -> Any:
    return provider_pb2.CheckResponse(
        inputs=encode(inputs),
        failures=[
            provider_pb2.CheckFailure(property=failure.name, reason=failure.reason)
            for failure in failures
        ],
    )


_KINDS = provider_pb2.PropertyDiff.Kind.values()


def _diff_response(diff: Diff) -> Any:
    detailed: dict[str, Any] = {
        path: provider_pb2.PropertyDiff(
            # In the protocol each kind is followed by its replacing twin.
            kind=_KINDS[found.change.value + found.replace]
        )
        for path, found in diff.paths.items()
    }
    return provider_pb2.DiffResponse(
        changes=_changes(bool(diff.paths)),
        diffs=diff.properties,
        replaces=diff.replaces,
        detailedDiff=detailed,
        hasDetailedDiff=True,
        deleteBeforeReplace=bool(diff.replaces) and diff.delete_before_replace,
    )


def _changes(some: bool) -> Any:
    return provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE


def _parse(value: Any) -> Any:
    """Configuration that isn't a string may come as JSON text (provider.proto, Configure)."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
