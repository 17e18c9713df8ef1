"""A running command's output: kept for the state, shown line by line as it comes."""

import json
import threading
from typing import Any

from sandbox.plugins.resource import Backend, Operation

LOGGING = ("stdout", "stderr", "stdoutAndStderr", "none")


class Output:
    """Collects both streams. Safe to use from several threads."""

    def __init__(self, operation: Operation[Backend], logging: Any) -> None:
        chosen = logging or "stdoutAndStderr"
        self._shown = {
            "stdout": chosen in ("stdout", "stdoutAndStderr"),
            "stderr": chosen in ("stderr", "stdoutAndStderr"),
        }
        self._operation = operation
        self._streams = {"stdout": bytearray(), "stderr": bytearray()}
        self._both = bytearray()
        self._rest = {"stdout": b"", "stderr": b""}
        self._lock = threading.Lock()

    def feed(self, stream: str, data: bytes) -> None:
        """Take what a stream gave."""
        with self._lock:
            self._streams[stream] += data
            self._both += data
            *lines, self._rest[stream] = (self._rest[stream] + data).split(b"\n")
        if self._shown[stream]:
            for line in lines:
                self._operation.info(_text(line))

    def finish(self) -> None:
        """Show the last lines, which had no end."""
        for stream, rest in self._rest.items():
            if rest and self._shown[stream]:
                self._operation.info(_text(rest))

    def outputs(self) -> dict[str, str]:
        """`stdout` and `stderr` as they go into the state: without the last line end."""
        return {name: _text(data).removesuffix("\n") for name, data in self._streams.items()}

    def error(self, reason: str, command: str) -> str:
        """The official text of a failed command: it quotes the command and all its output."""
        return f"{reason}: running {quoted(command)}:\n{_text(self._both)}"


def quoted(text: str) -> str:
    """A string in double quotes with escapes."""
    return json.dumps(text, ensure_ascii=False)


def _text(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")
