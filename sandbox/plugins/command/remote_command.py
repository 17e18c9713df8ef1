"""`command:remote:Command`: commands over SSH."""

import contextlib
import select
import threading

import paramiko

from sandbox.plugins.command.base import (
    COMMAND_FIELDS,
    Command,
    NoBackend,
    failed,
    previous_output,
)
from sandbox.plugins.command.connection import CONNECTION, dial
from sandbox.plugins.command.environment import set_variable, set_variable_quietly
from sandbox.plugins.command.output import Output
from sandbox.plugins.errors import PluginError
from sandbox.plugins.resource import Operation
from sandbox.plugins.schema import with_defaults
from sandbox.plugins.values import UNKNOWN, Props

CHUNK_BYTES = 32768
POLL_S = 0.2


class RemoteCommand(Command):
    """Commands on another machine. `connection` is always secret in the state: the SDK says so."""

    token = "command:remote:Command"
    fields = {"connection": CONNECTION, **COMMAND_FIELDS}

    def normalise(self, inputs: Props) -> Props:
        """The connection with its defaults."""
        connection = inputs.get("connection")
        if not isinstance(connection, dict):
            return inputs
        return inputs | {"connection": with_defaults(CONNECTION.fields, connection)}

    def run(self, operation: Operation[NoBackend], command: str, props: Props) -> Output:
        """Dial, run, and collect the output until the command ends."""
        transport = dial(operation, props["connection"])
        try:
            channel = transport.open_session()
            for name, value in (props.get("environment") or {}).items():
                set_variable(channel, name, str(value))
            for name, value in previous_output(props).items():
                set_variable_quietly(channel, name, value)
            output = Output(operation, props.get("logging"))
            channel.exec_command(command)
            _send_stdin(channel, props.get("stdin"))
            _collect(operation, channel, output)
            _raise_for_status(channel, output, command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            reason = str(error) or type(error).__name__
            raise PluginError(f"the SSH connection broke: {reason}") from error
        finally:
            transport.close()
        return output


def _send_stdin(channel: paramiko.Channel, text: object) -> None:
    """Write stdin beside the reading of the output: a full pipe must not stop both."""

    def write() -> None:
        # A command may end without reading all of it.
        with contextlib.suppress(OSError, EOFError):
            if text and text is not UNKNOWN:
                channel.sendall(str(text).encode())
            channel.shutdown_write()

    threading.Thread(target=write, name="stdin", daemon=True).start()


def _collect(operation: Operation[NoBackend], channel: paramiko.Channel, output: Output) -> None:
    """Feed `output` until both streams ended; raises CancelledError soon after an interruption."""
    while not (channel.exit_status_ready() and channel.eof_received) and not channel.closed:
        operation.wait(0)
        select.select([channel], [], [], POLL_S)
        _drain(channel, output)
    _drain(channel, output)
    output.finish()


def _drain(channel: paramiko.Channel, output: Output) -> None:
    while channel.recv_ready():
        output.feed("stdout", channel.recv(CHUNK_BYTES))
    while channel.recv_stderr_ready():
        output.feed("stderr", channel.recv_stderr(CHUNK_BYTES))


def _raise_for_status(channel: paramiko.Channel, output: Output, command: str) -> None:
    if not channel.exit_status_ready() or channel.exit_status == -1:
        reason = "wait: remote command exited without exit status or exit signal"
        raise failed(output, reason, command)
    if channel.exit_status:
        raise failed(output, f"Process exited with status {channel.exit_status}", command)
