"""`command:local:Command`: commands on this machine."""

import contextlib
import os
import signal
import subprocess
import threading
from typing import IO

from sandbox.plugins.command.base import (
    COMMAND_FIELDS,
    Command,
    NoBackend,
    failed,
    previous_output,
)
from sandbox.plugins.command.output import Output
from sandbox.plugins.errors import PluginError
from sandbox.plugins.resource import Operation
from sandbox.plugins.schema import Field
from sandbox.plugins.values import Props

UNSUPPORTED = "the stand-in plugin returns no files; install the official command plugin"
SHELL = ["/bin/sh", "-c"]
CHUNK_BYTES = 32768
POLL_S = 0.05
KILL_AFTER_S = 2.0


class LocalCommand(Command):
    """Commands of this machine, run in the plugin's own directory and environment."""

    token = "command:local:Command"
    fields = {
        **COMMAND_FIELDS,
        "archivePaths": Field("list", unsupported=UNSUPPORTED),
        "assetPaths": Field("list", unsupported=UNSUPPORTED),
        "dir": Field("string"),
        "interpreter": Field("list", items="string"),
    }

    def run(self, operation: Operation[NoBackend], command: str, props: Props) -> Output:
        """Start it in a session of its own, collect its output, wait for its end."""
        output = Output(operation, props.get("logging"))
        given = {name: str(value) for name, value in (props.get("environment") or {}).items()}
        try:
            process = subprocess.Popen(
                [*(props.get("interpreter") or SHELL), command],
                cwd=props.get("dir"),
                env={**os.environ, **given, **previous_output(props)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise failed(output, str(error), command) from error
        with process:
            threads = _threads(process, output, str(props.get("stdin") or ""))
            _wait(operation, process)
            for thread in threads:
                thread.join()
        output.finish()
        if process.returncode:
            raise failed(output, _reason(process.returncode), command)
        return output


def _threads(
    process: "subprocess.Popen[bytes]", output: Output, stdin: str
) -> list[threading.Thread]:
    threads = [
        threading.Thread(target=_write, args=(process.stdin, stdin.encode())),
        threading.Thread(target=_feed, args=(process.stdout, "stdout", output)),
        threading.Thread(target=_feed, args=(process.stderr, "stderr", output)),
    ]
    for thread in threads:
        thread.start()
    return threads


def _write(stream: IO[bytes], data: bytes) -> None:
    # A command may end without reading all of it.
    with contextlib.suppress(BrokenPipeError), stream:
        stream.write(data)


def _feed(stream: IO[bytes], name: str, output: Output) -> None:
    while data := os.read(stream.fileno(), CHUNK_BYTES):
        output.feed(name, data)


def _wait(operation: Operation[NoBackend], process: "subprocess.Popen[bytes]") -> None:
    try:
        while process.poll() is None:
            operation.wait(POLL_S)
    except PluginError:
        _end(process)
        raise


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_AFTER_S)


def _reason(code: int) -> str:
    if code < 0:
        return f"signal: {signal.strsignal(-code) or -code}".lower()
    return f"exit status {code}"
