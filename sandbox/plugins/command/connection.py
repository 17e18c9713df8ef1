"""`connection`: how to reach a machine by SSH; its check, and the dialling of it."""

import io
import socket
import time
from dataclasses import dataclass
from typing import Any

import paramiko

from sandbox.plugins.errors import PluginError
from sandbox.plugins.resource import Backend, Operation
from sandbox.plugins.schema import Field
from sandbox.plugins.values import Props

UNSUPPORTED = (
    "the stand-in plugin has no SSH agent and no proxy; install the official command plugin"
)

CONNECTION = Field(
    "object",
    required=True,
    fields={
        "agentSocketPath": Field("string", unsupported=UNSUPPORTED),
        "dialErrorLimit": Field("number", default=10),
        "host": Field("string", required=True),
        "hostKey": Field("string"),
        "password": Field("string"),
        "perDialTimeout": Field("number", default=15),
        "port": Field("number", default=22),
        "privateKey": Field("string"),
        "privateKeyPassword": Field("string"),
        "proxy": Field("any", unsupported=UNSUPPORTED),
        "user": Field("string", default="root"),
    },
)

# Gaps between tries, as the official plugin's (pulumi's retry.Until).
FIRST_GAP_S = 0.1
GAP_GROWTH = 1.5
LONGEST_GAP_S = 5.0
ENDLESS = -1
KEEPALIVE_S = 30

RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


class DialError(Exception):
    """One try failed; the text is in the official plugin's words."""


@dataclass(frozen=True)
class Target:
    """A checked `connection`. The key texts never appear in its repr."""

    host: str
    port: int
    user: str
    key: paramiko.PKey | None
    password: str | None
    host_key: tuple[str, bytes] | None
    dial_error_limit: int
    per_dial_timeout_s: float | None

    @classmethod
    def of(cls, connection: Props) -> "Target":
        """Parse the input. Raises PluginError for a key that can't be read."""
        timeout_s = float(connection.get("perDialTimeout", 15))
        return cls(
            host=str(connection["host"]),
            port=int(connection.get("port", 22)),
            user=str(connection.get("user", "root")),
            key=_private_key(connection),
            password=connection.get("password"),
            host_key=_host_key(connection.get("hostKey")),
            dial_error_limit=int(connection.get("dialErrorLimit", 10)),
            per_dial_timeout_s=timeout_s or None,
        )

    def __repr__(self) -> str:
        return f"Target({self.user}@{self.host}:{self.port})"


def dial(operation: Operation[Backend], connection: Props) -> paramiko.Transport:
    """An authenticated connection, tried again while the limit allows.

    Raises PluginError with the last try's reason; CancelledError when the engine is interrupted.
    """
    target = Target.of(connection)
    failed, gap_s = 0, FIRST_GAP_S
    while True:
        try:
            return _try(target)
        except DialError as error:
            failed += 1
            limit = target.dial_error_limit
            if limit > ENDLESS and failed > limit:
                raise PluginError(f"after {limit} failed attempts: {error}") from error
            shown = "inf" if limit == ENDLESS else limit
            # Officially the reason is not shown, so that a wrong host key looks like a slow boot.
            operation.info(f"Dial {failed}/{shown} failed: retrying ({error})")
        operation.wait(gap_s)
        gap_s = min(gap_s * GAP_GROWTH, LONGEST_GAP_S)


def _try(target: Target) -> paramiko.Transport:
    """Connect, check the host key, sign in; all within the time of one try."""
    ends = time.monotonic() + (target.per_dial_timeout_s or float("inf"))
    where = f"{target.host}:{target.port}"
    try:
        stream = socket.create_connection((target.host, target.port), target.per_dial_timeout_s)
    except TimeoutError as error:
        raise DialError(f"dial tcp {where}: i/o timeout") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DialError(f"dial tcp {where}: connect: {reason}") from error
    transport = paramiko.Transport(stream)
    try:
        _shake_hands(transport, target, ends)
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.close()
        raise DialError(f"ssh: handshake failed: {_reason(error)}") from error
    except BaseException:
        transport.close()
        raise
    transport.set_keepalive(KEEPALIVE_S)
    return transport


def _shake_hands(transport: paramiko.Transport, target: Target, ends: float) -> None:
    if target.host_key:
        kind = target.host_key[0]
        wanted = RSA_SIGNATURES if kind == "ssh-rsa" else (kind,)
        transport.get_security_options().key_types = wanted
    left_s = max(0.1, min(ends - time.monotonic(), 3600.0))
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = left_s
    transport.start_client(timeout=left_s)
    shown = transport.get_remote_server_key()
    if target.host_key and shown.asbytes() != target.host_key[1]:
        raise DialError("ssh: handshake failed: ssh: host key mismatch")
    _sign_in(transport, target)


def _sign_in(transport: paramiko.Transport, target: Target) -> None:
    tried = ["none"]
    if target.key is not None:
        tried.append("publickey")
        try:
            transport.auth_publickey(target.user, target.key)
        except paramiko.AuthenticationException:
            pass  # as the official plugin: the password is tried next, if there is one
        else:
            return
    if target.password is not None:
        tried.append("password")
        try:
            transport.auth_password(target.user, target.password, fallback=True)
        except paramiko.AuthenticationException:
            pass  # the error below names everything that was tried
        else:
            return
    methods = " ".join(tried)
    raise DialError(
        f"ssh: handshake failed: ssh: unable to authenticate, attempted methods [{methods}],"
        " no supported methods remain"
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "EOF"
    return str(error) or type(error).__name__


def _host_key(line: Any) -> tuple[str, bytes] | None:
    """Type and bytes of an authorized_keys line."""
    if not line:
        return None
    try:
        key = paramiko.hostkeys.HostKeyEntry.from_line(f"host {str(line).strip()}")
    except (paramiko.SSHException, ValueError) as error:
        raise PluginError(f"failed to parse host key: {error}") from error
    if key is None or key.key is None:
        raise PluginError("failed to parse host key: ssh: no key found")
    return key.key.get_name(), key.key.asbytes()


def _private_key(connection: Props) -> paramiko.PKey | None:
    text = connection.get("privateKey")
    if not text:
        return None
    password = connection.get("privateKeyPassword")
    kinds: tuple[type[paramiko.PKey], ...] = (
        paramiko.Ed25519Key,
        paramiko.ECDSAKey,
        paramiko.RSAKey,
    )
    for kind in kinds:
        try:
            return kind.from_private_key(io.StringIO(text), password)
        except (paramiko.SSHException, ValueError, IndexError):
            continue  # a key of another kind; the error after the loop speaks for all
    raise PluginError("ssh: no key found in privateKey, or a wrong privateKeyPassword")
