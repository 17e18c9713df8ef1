"""A worker in a process of its own, which may die by kill -9 at a chosen line.

`python -m tests.webapp.jobs.victim NAME [before|after MODULE:CLASS.FUNCTION]`
"""

import functools
import os
import signal
import sys
from importlib import import_module
from typing import Any

from webapp import worker
from webapp.adapters.orchestrator import Orchestrator
from webapp.app import build
from webapp.http import logs
from webapp.settings import WebSettings

POLL_S = 0.05


def die(when: str, where: str) -> None:
    """Arrange for this process to be killed when that function is called, or has returned."""
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for step in owners:
        owner = getattr(owner, step)
    function = getattr(owner, name)

    @functools.wraps(function)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        if when == "after":
            function(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


def main(name: str, *moment: str) -> None:
    """Work until SIGTERM, or death."""
    logs.configure()
    if moment:
        die(*moment)
    c = build(WebSettings.read())
    heard = worker.hear_signals()
    orchestrator = Orchestrator(install=False)
    with worker.Worker(c, orchestrator, name=name, poll_s=POLL_S, scheduled=False) as found:
        print("working", flush=True)
        worker.wait_for_the_end(found, heard)


if __name__ == "__main__":
    main(*sys.argv[1:])
