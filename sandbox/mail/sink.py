"""The SMTP server: takes every letter for everybody and sends none on."""

import asyncio
import logging
import socket
import threading
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.clouds.store import Store
from sandbox.mail.letters import Letters, read

HOST = "127.0.0.1"
SIZE_LIMIT_BYTES = 10 * 1024 * 1024
PORT_FILE = "mail-port"


class MailSink:
    """An SMTP server on loopback with a thread of its own; its letters go to `store`."""

    def __init__(self, store: Store) -> None:
        self._handler = _Handler(Letters(store))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="mail", daemon=True)
        self._listening: socket.socket | None = None

    @property
    def port(self) -> int:
        """Where it listens. Raises RuntimeError before `start`."""
        if self._listening is None:
            raise RuntimeError("the mail sink has not been started")
        return int(self._listening.getsockname()[1])

    def start(self, port: int = 0) -> None:
        """Listen on a port (0: a free one) and serve. Raises OSError when the port is taken."""
        self._listening = socket.create_server((HOST, port))
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd tells every line
        self._thread.start()

    def start_at(self, port_file: Path) -> None:
        """Listen where it did the last time, as the file remembers; if taken, somewhere else."""
        try:
            self.start(_remembered(port_file))
        except OSError:
            self.start()
        port_file.write_text(f"{self.port}\n")

    def close(self) -> None:
        """Stop listening, hang up on everybody, end the thread."""
        if self._listening is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(self._protocol, sock=self._listening)
        )
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(_end_tasks())
        self._loop.close()

    def _protocol(self) -> SMTP:
        return SMTP(
            self._handler,
            data_size_limit=SIZE_LIMIT_BYTES,
            enable_SMTPUTF8=True,
            hostname="mail.sandbox",
            ident="the sandbox's mail sink",
            loop=self._loop,
        )


class _Handler:
    def __init__(self, letters: Letters) -> None:
        self._letters = letters

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        del server, session
        if self._letters.refused():
            return "451 4.3.0 The sandbox was told to refuse letters"
        raw = envelope.content or b""
        if isinstance(raw, str):
            raw = raw.encode()
        self._letters.add(read(envelope.mail_from or "", envelope.rcpt_tos, raw))
        return "250 2.0.0 Kept"


async def _end_tasks() -> None:
    """Connections that are still open end with the task that serves them."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _remembered(port_file: Path) -> int:
    try:
        return int(port_file.read_text())
    except (FileNotFoundError, ValueError):
        return 0
