"""Pulumi's LanguageRuntime service for Python programs, on the Automation API's own server."""

# ruff: noqa: ARG002  (the signatures are gRPC's)

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from sandbox.plugins.language.program import Program
from sandbox.plugins.serve import (
    MESSAGE_BYTES,
    STOP_S,
    engine_address_of,
    hear_signals,
    leave,
    wait_for_the_end,
)

Context: TypeAlias = Any
"""grpc.ServicerContext, which has no type stubs here."""

THREADS = 8


class LanguageHost(LanguageServer):
    """Runs the program of a project directory in this process."""

    def __init__(self) -> None:
        super().__init__(program=lambda: None)

    def GetPluginInfo(self, request: Any, context: Context) -> Any:
        """The version of the Pulumi SDK that runs the program."""
        return plugin_pb2.PluginInfo(version=version("pulumi"))

    def Run(self, request: Any, context: Context) -> Any:
        """Run the program once; an engine starts a host for each run."""
        secrets = [request.config[key] for key in request.configSecretKeys]
        self.program = Program(
            root=Path(request.info.root_directory),
            directory=Path(request.info.program_directory),
            entry_point=request.info.entry_point,
            secrets=tuple(filter(None, secrets)),
        )
        return super().Run(request, context)  # type: ignore[no-untyped-call]

    def InstallDependencies(self, request: Any, context: Context) -> Iterator[Any]:
        """Nothing to do: the virtual environment is made by `make setup`."""
        yield language_pb2.InstallDependenciesResponse()

    def GetProgramDependencies(self, request: Any, context: Context) -> Any:
        """Packages of this environment, for `pulumi about`."""
        found = {item.name: item.version for item in distributions()}
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[
                language_pb2.DependencyInfo(name=name, version=number)
                for name, number in sorted(found.items())
                if request.transitiveDependencies or name.startswith("pulumi")
            ]
        )

    def RuntimeOptionsPrompts(self, request: Any, context: Context) -> Any:
        """No questions."""
        return language_pb2.RuntimeOptionsResponse()


def main() -> None:
    """Serve until SIGTERM, SIGINT or the engine's end; prints the port, as the engine expects."""
    heard = hear_signals()
    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
    ]
    server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    wait_for_the_end(heard, with_parent=bool(engine_address_of(sys.argv[1:])))
    server.stop(STOP_S).wait()
    leave()
