"""The edge as a process: `python -m sandbox.edge --dir DIR --clouds-url URL --port PORT`."""

import argparse
import asyncio
import logging
import signal
import socket
from pathlib import Path

import aiohttp
from aiohttp import web

from sandbox.clouds.world import Credentials
from sandbox.edge.proxy import Edge, EdgeSettings, origin_session
from sandbox.edge.resolver import Resolver
from sandbox.processes import die_with_parent, listen, say_ready

DRAIN_S = 1.0
MAX_HEADER_BYTES = 64 * 1024


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    arguments = _parser().parse_args()
    if arguments.parent:
        die_with_parent(arguments.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    credentials = Credentials.load_or_make(arguments.dir / "credentials.json")
    settings = EdgeSettings(
        api=f"{arguments.clouds_url}/client/v4/",
        token=credentials.cloudflare_token,
        zone_id=credentials.cloudflare_zone_id,
        domain=arguments.domain,
        directory=arguments.dir,
        connect_timeout_s=arguments.connect_seconds,
        answer_timeout_s=arguments.answer_seconds,
        https_port=arguments.https_port,
        http_port=arguments.http_port,
    )
    if arguments.fd is None:
        listening = listen(arguments.port, "--port")
    else:
        listening = socket.socket(fileno=arguments.fd)
    asyncio.run(_serve(settings, listening))


async def _serve(settings: EdgeSettings, listening: socket.socket) -> None:
    stop = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop.set)
    async with aiohttp.ClientSession() as api, origin_session(settings) as origins:
        resolver = Resolver(api, settings.api, settings.token, settings.zone_id)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", Edge(settings, resolver, origins).handle)
        runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            shutdown_timeout=DRAIN_S,
        )
        await runner.setup()
        await web.SockSite(runner, listening).start()
        say_ready({"port": listening.getsockname()[1]})
        await stop.wait()
        await runner.cleanup()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.edge", description=__doc__)
    defaults = EdgeSettings
    parser.add_argument("--dir", type=Path, required=True, help="the sandbox's directory")
    parser.add_argument("--clouds-url", required=True, help="where the clouds are, http://…")
    parser.add_argument("--domain", default="clawdet.com", help="the zone's name")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0: a free one)")
    parser.add_argument("--fd", type=int, help="a listening socket that is open already")
    parser.add_argument("--parent", type=int, help="end when this process, our parent, ends")
    parser.add_argument(
        "--connect-seconds",
        type=float,
        default=defaults.connect_timeout_s,
        help="how long an origin may take to accept a connection",
    )
    parser.add_argument(
        "--answer-seconds",
        type=float,
        default=defaults.answer_timeout_s,
        help="how long an origin may stay silent",
    )
    parser.add_argument("--https-port", type=int, default=defaults.https_port, help="of origins")
    parser.add_argument("--http-port", type=int, default=defaults.http_port, help="of origins")
    return parser


if __name__ == "__main__":
    main()
