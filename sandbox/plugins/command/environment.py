"""Environment variables of a remote command (RFC 4254, section 6.4)."""

from typing import Any

import paramiko
from paramiko.common import byte_chr

from sandbox.plugins.errors import PluginError

CHANNEL_REQUEST = byte_chr(98)


def set_variable(channel: paramiko.Channel, name: str, value: str) -> None:
    """Set a variable. Raises PluginError when the server does not accept it.

    paramiko's own set_environment_variable never asks for an answer, so that a refused variable
    would be missing in silence.
    """
    message = paramiko.Message()
    message.add_byte(CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("env")
    message.add_boolean(True)
    message.add_string(name)
    message.add_string(value)
    # Only paramiko's inner methods wait for an answer.
    inner: Any = channel
    inner._event_pending()
    inner.transport._send_user_message(message)
    try:
        inner._wait_for_event()
    except (paramiko.SSHException, EOFError) as error:
        raise PluginError(
            f'could not set environment variable "{name}": ssh: setenv failed. This only works if'
            " your SSH server is configured to accept it via AcceptEnv. Alternatively, if a"
            " Bash-like shell runs the command on the remote host, you could prefix the command"
            " itself with the variables in the form 'VAR=value command'"
        ) from error


def set_variable_quietly(channel: paramiko.Channel, name: str, value: str) -> None:
    """Set a variable if the server accepts it."""
    channel.set_environment_variable(name, value)
