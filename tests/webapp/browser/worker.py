"""`python -m tests.webapp.browser.worker`: the worker for servers that exist in the API only."""

import sys

from webapp import worker
from webapp.adapters.orchestrator import Orchestrator
from webapp.app import build
from webapp.http import logs
from webapp.settings import WebSettings

POLL_S = 0.1


def main() -> int:
    """Work until SIGTERM; nothing is installed, and nothing is done that only the clock asks."""
    logs.configure()
    c = build(WebSettings.read())
    heard = worker.hear_signals()
    orchestrator = Orchestrator(install=False)
    with worker.Worker(c, orchestrator, name="browser", poll_s=POLL_S, scheduled=False) as found:
        worker.wait_for_the_end(found, heard)
    c.jobs.close()
    c.db.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
