"""The provider `command`: no settings, three resources."""

from sandbox.plugins.command.base import NoBackend
from sandbox.plugins.command.copy_to_remote import CopyToRemote
from sandbox.plugins.command.local_command import LocalCommand
from sandbox.plugins.command.remote_command import RemoteCommand
from sandbox.plugins.install import VERSIONS
from sandbox.plugins.resource import Provider, Resource
from sandbox.plugins.schema import Failure, Field
from sandbox.plugins.values import Props


class CommandProvider(Provider[NoBackend]):
    """Stands in for pulumi-command. It has no endpoint to look at, so it serves always."""

    name = "command"
    version = VERSIONS["command"]
    config: dict[str, Field] = {}
    resources: dict[str, Resource[NoBackend]] = {
        resource.token: resource for resource in (RemoteCommand(), CopyToRemote(), LocalCommand())
    }

    def check_config(self, config: Props) -> list[Failure]:  # noqa: ARG002
        """Anything goes: the official plugin leaves a mark of its own here."""
        return []

    def configure(self, config: Props) -> NoBackend:  # noqa: ARG002
        """Nothing to set up."""
        return ()


PROVIDER = CommandProvider()
