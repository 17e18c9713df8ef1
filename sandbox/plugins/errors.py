"""What can go wrong in a plugin, in the form the engine is told about it."""

from typing import Any


class PluginError(Exception):
    """An operation failed; the text is what the operator reads. It must hold no secret."""


class InitFailedError(PluginError):
    """The resource exists but was not finished: the engine keeps it, with what is known of it.

    Without this the engine would forget a server that is already being billed.
    """

    def __init__(self, reason: str, resource_id: str, outputs: dict[str, Any]) -> None:
        super().__init__(reason)
        self.resource_id = resource_id
        self.outputs = outputs


class CancelledError(PluginError):
    """The engine was interrupted while we waited."""

    def __init__(self) -> None:
        super().__init__("the operation was cancelled")
