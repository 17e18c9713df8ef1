"""The clouds as a process: every company's API on one port, and the machines behind them."""

import argparse
import logging
import os
import signal
import socket
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

from waitress import create_server

from sandbox.clouds import hetzner, stripe
from sandbox.clouds.app import create_app
from sandbox.clouds.store import Store
from sandbox.clouds.world import Credentials, World
from sandbox.machines.api_only import ApiOnlyMachines
from sandbox.machines.choose import choose
from sandbox.machines.driver import MachineError, Machines
from sandbox.mail import PORT_FILE, MailSink
from sandbox.processes import die_with_parent, say_failed, say_progress, say_ready

# A slow fault holds a thread for its whole time, and a stack of servers polls while others build.
THREADS = 64
CONNECTIONS = 1000
CLOSE_S = 25.0
"""How long the machines get to stop. Then the process ends, and the kernel kills what is left."""


def main() -> None:
    """Serve until SIGTERM; then stop every machine."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _stop)
    die_with_parent(arguments.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    listening = socket.socket(fileno=arguments.fd)
    port = listening.getsockname()[1]
    try:
        machines = choose(arguments.dir / "machines", arguments.machines, port, say_progress)
    except MachineError as error:
        say_failed(str(error))
        return
    try:
        _serve(arguments, machines, listening)
    finally:
        late = threading.Timer(CLOSE_S, os._exit, (1,))
        late.daemon = True
        late.start()
        machines.close()
    # Request threads may hang in a slow fault: nothing of theirs is worth waiting for.
    os._exit(0)


def _serve(arguments: argparse.Namespace, machines: Machines, listening: socket.socket) -> None:
    world = World(
        store=Store(arguments.dir / "clouds.sqlite3"),
        machines=machines,
        credentials=Credentials.load_or_make(arguments.dir / "credentials.json"),
        directory=arguments.dir,
        domain=arguments.domain,
        action_seconds=arguments.action_seconds,
    )
    app = create_app(world)
    server = create_server(
        app,
        sockets=[listening],
        threads=THREADS,
        connection_limit=CONNECTIONS,
        asyncore_use_poll=True,
    )
    reasons = machines.reasons if isinstance(machines, ApiOnlyMachines) else ()
    threading.Thread(target=machines.resume, daemon=True).start()
    sink = MailSink(world.store)
    sink.start_at(arguments.dir / PORT_FILE)
    say_ready({"driver": machines.name, "reasons": list(reasons), "mail_port": sink.port})
    try:
        server.run()
    finally:
        sink.close()
        stripe.close(app)
        hetzner.close(app)
        world.store.close()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """On the first signal leave the server's loop; later ones must not disturb the closing."""
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.clouds", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the sandbox's directory")
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--parent", type=int, required=True, help="end when it ends")
    parser.add_argument("--domain", required=True, help="the zone's name")
    parser.add_argument("--machines", required=True, help="auto, nspawn or api-only")
    parser.add_argument("--action-seconds", type=float, default=0.0)
    return parser


if __name__ == "__main__":
    main()
