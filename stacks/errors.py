"""What can go wrong with a stack, in words a person can act on."""


class StackError(Exception):
    """Base of what this package raises. `remedy` says what to do next, "" if nothing can be."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class UsageError(StackError):
    """The caller asked for something that makes no sense: a malformed name, a missing setting."""

    exit_code = 2


class UnknownStack(StackError):
    """No stack of that name exists in this backend."""

    exit_code = 2


class AlreadyThere(UsageError):
    """A stack of that name exists already."""


class Busy(StackError):
    """Another operation holds the stack, or every slot of this machine is taken."""

    exit_code = 3


class NeedsApproval(StackError):
    """The plan would replace, delete or re-create a server that should be running."""

    exit_code = 4


class Cancelled(StackError):
    """The operation was interrupted on request."""

    exit_code = 130


class NoCapacity(StackError):
    """No location has the server type in stock."""


class Refused(StackError):
    """A cloud refused our credentials."""


class OperationFailed(StackError):
    """The engine or a resource failed. `step` names where, `log` keeps the engine's own words."""

    def __init__(self, message: str, remedy: str = "", step: str = "", log: str = "") -> None:
        super().__init__(message, remedy)
        self.step = step
        self.log = log


class CheckFailed(StackError):
    """An instance does not answer from outside as it should."""
