"""The SMTP server: takes every letter for everybody and sends none on."""

import asyncio
import logging
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
        self._thread: threading.Thread | None = None
        self.port = 0
        """Where it listens, once it was started."""

    def start(self, port: int = 0) -> None:
        """Listen on a port (0: a free one) and serve. Raises OSError when the port is taken."""
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd tells every line
        opening = self._loop.create_server(self._protocol, HOST, port)
        server = self._loop.run_until_complete(opening)
        self.port = server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=[server], name="mail", daemon=True)
        self._thread.start()

    def start_at(self, port_file: Path) -> None:
        """Listen where it did the last time, as the file remembers; if taken, somewhere else."""
        try:
            self.start(_remembered(port_file))
        except OSError:
            self.start()
        port_file.write_text(f"{self.port}\n")

    def close(self) -> None:
        """Stop listening, hang up on everybody, end the thread. A closed one stays closed."""
        if self._thread is None:
            self._loop.close()
        elif self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self, server: asyncio.Server) -> None:
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
        sender = (envelope.mail_from or "").replace("<>", "")  # how a bounce names nobody
        self._letters.add(read(sender, envelope.rcpt_tos, raw))
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
