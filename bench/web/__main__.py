"""`python -m bench.web`: the web process and the worker under load, on SQLite, on this machine.

Exit codes: 0 measured, 1 with --check if a target was missed, 2 could not be measured.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import stripe
from rich.console import Console
from rich.table import Table

from bench.web.load import Measured, Sending, hold_streams, measure
from bench.web.rows import make_customer
from local.environment import web_settings
from local.processes import Child, NotReady
from local.serving import Local, serve
from sandbox.keeping import SandboxError
from webapp.settings import WebSettings

WEBHOOK_P95_MS, WEBHOOKS_PER_SECOND, IDLE_MB, STREAMS = 25.0, 300.0, 200.0, 500
SETTLE_S = 5.0

Row = tuple[str, str, str]


def main() -> int:
    """Measure and print."""
    chosen = _parser().parse_args()
    console = Console(highlight=False)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="clawdet-bench-") as folder,
            serve(Path(folder), 0, console.print, sandboxed=True, machines="api-only") as found,
        ):
            met = _measure(console, found, chosen.requests)
    except (NotReady, SandboxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if chosen.check and not met else 0


def _measure(console: Console, found: Local, number: int) -> bool:
    settings = web_settings(found.environment)
    customer = make_customer(settings)
    time.sleep(SETTLE_S)
    idle = {child.name: _pss_mb(child) for child in found.children}
    base = found.url.replace("localhost", "127.0.0.1")
    cookie = {"Cookie": f"user_session={customer.token}"}
    pages: list[tuple[str, Callable[[int], Sending]]] = [
        ("landing", lambda _: Sending("GET", f"{base}/", {})),
        ("dashboard", lambda _: Sending("GET", f"{base}/dashboard", cookie)),
        ("status API", lambda _: Sending("GET", f"{base}/api/provisioning/status", cookie)),
        ("webhook intake", _webhooks(base, settings)),
    ]
    table = Table("", "requests/s", "p50 ms", "p95 ms", "failed", box=None)
    results: dict[str, Measured] = {}
    for name, make in pages:
        measure(make, 20, 4)  # warm
        result = results[name] = measure(lambda n, make=make: make(n + 1000), number, 4)  # type: ignore[misc]
        table.add_row(
            name, f"{result.per_second:.0f}", f"{result.p50_ms:.1f}", f"{result.p95_ms:.1f}",
            str(result.failed),
        )  # fmt: skip
    console.print(table)
    alive, beside = _streams(base, cookie)
    console.print(f"{alive} of {STREAMS} progress streams open at once on one process")
    console.print(f"status API meanwhile: p95 {beside.p95_ms:.1f} ms")
    web = found.children[0]
    console.print(
        f"idle: web {idle['web']:.0f} MB, worker {idle['worker']:.0f} MB; "
        f"web after all this {_pss_mb(web):.0f} MB (PSS)"
    )
    hooks = results["webhook intake"]
    return (
        hooks.p95_ms < WEBHOOK_P95_MS
        and hooks.per_second >= WEBHOOKS_PER_SECOND
        and sum(idle.values()) < IDLE_MB
        and alive == STREAMS
        and not any(result.failed for result in results.values())
    )


def _streams(base: str, cookie: dict[str, str]) -> tuple[int, Measured]:
    """Open all streams; ask the status API while they are open."""
    alive: list[int] = []
    url = f"{base}/api/provisioning/events"
    holder = threading.Thread(
        target=lambda: alive.append(asyncio.run(hold_streams(url, cookie, STREAMS, 8.0)))
    )
    holder.start()
    time.sleep(4.0)
    status = Sending("GET", f"{base}/api/provisioning/status", cookie)
    beside = measure(lambda _: status, 200, 4)
    holder.join()
    return alive[0], beside


def _webhooks(base: str, settings: WebSettings) -> Callable[[int], Sending]:
    """Signed events of a type that leads to nothing more than being kept."""
    secret = settings.stripe_webhook_secret.get_secret_value()
    run = int(time.time())

    def make(index: int) -> Sending:
        payload = json.dumps(
            {
                "id": f"evt_bench_{run}_{index}",
                "object": "event",
                "type": "product.updated",
                "created": run,
                "livemode": False,
                "data": {"object": {"id": "prod_1", "object": "product"}},
            }
        )
        at = int(time.time())
        signature = stripe.WebhookSignature._compute_signature(f"{at}.{payload}", secret)
        headers = {
            "Stripe-Signature": f"t={at},v1={signature}",
            "Content-Type": "application/json",
        }
        return Sending("POST", f"{base}/api/webhooks/stripe", headers, payload.encode())

    return make


def _pss_mb(child: Child) -> float:
    """Of a process and all it has started."""
    assert child.process
    top = psutil.Process(child.process.pid)
    found = [top, *top.children(recursive=True)]
    return float(sum(process.memory_full_info().pss for process in found)) / 2**20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.web", description=__doc__)
    parser.add_argument("--requests", type=int, default=1500, help="of each kind (1500)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
