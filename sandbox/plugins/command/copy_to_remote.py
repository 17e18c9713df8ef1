"""`command:remote:CopyToRemote`: files over SFTP."""

import secrets

import paramiko

from sandbox.plugins.command.base import NoBackend
from sandbox.plugins.command.connection import CONNECTION, dial
from sandbox.plugins.command.upload import Uploader
from sandbox.plugins.errors import PluginError
from sandbox.plugins.resource import Known, Live, Operation, Resource
from sandbox.plugins.schema import Failure, Field, with_defaults
from sandbox.plugins.values import Asset, Props

REMOTE = "the stand-in plugin copies local files and texts only, no URLs"


class CopyToRemote(Resource[NoBackend]):
    """A file, a text, a directory or an archive of those, copied to another machine."""

    token = "command:remote:CopyToRemote"
    fields = {
        "connection": CONNECTION,
        "remotePath": Field("string", required=True),
        "source": Field("asset", required=True),
        "triggers": Field("list", replace=True),
    }

    def normalise(self, inputs: Props) -> Props:
        """The connection with its defaults."""
        connection = inputs.get("connection")
        if not isinstance(connection, dict):
            return inputs
        return inputs | {"connection": with_defaults(CONNECTION.fields, connection)}

    def check_more(self, inputs: Props) -> list[Failure]:
        """No URLs."""
        source = inputs["source"]
        is_url = isinstance(source, Asset) and source.fields.get("uri")
        return [Failure("source", REMOTE)] if is_url else []

    def create(self, operation: Operation[NoBackend], inputs: Props) -> Live:
        """Copy it."""
        _copy(operation, inputs)
        return Live(secrets.token_hex(4), self.expected(inputs))

    def read(self, operation: Operation[NoBackend], known: Known) -> Live | None:  # noqa: ARG002
        """Nothing to see: what was copied was copied."""
        return Live(known.resource_id, known.state)

    def inputs_of(self, live: Props, old_inputs: Props) -> Props:  # noqa: ARG002
        """A refresh changes nothing."""
        return old_inputs

    def update(self, operation: Operation[NoBackend], known: Known, inputs: Props) -> Props:
        """Copy it again when the content or the place changed; another connection does not count,
        as officially."""
        old, new = known.state.get("source"), inputs["source"]
        same = isinstance(old, Asset) and bool(old.hash) and old.hash == new.hash
        if not same or known.state.get("remotePath") != inputs["remotePath"]:
            _copy(operation, inputs)
        return self.expected(inputs)

    def delete(self, operation: Operation[NoBackend], known: Known) -> None:
        """The copy stays, as officially."""


def _copy(operation: Operation[NoBackend], inputs: Props) -> None:
    transport = dial(operation, inputs["connection"])
    try:
        client = paramiko.SFTPClient.from_transport(transport)
        if client is None:
            raise PluginError("the server has no SFTP")
        uploader = Uploader(client, lambda: operation.wait(0))
        uploader.copy(inputs["source"], str(inputs["remotePath"]))
    except (paramiko.SSHException, OSError, EOFError) as error:
        reason = str(error) or type(error).__name__
        raise PluginError(f"failed to copy to {inputs['remotePath']}: {reason}") from error
    finally:
        transport.close()
