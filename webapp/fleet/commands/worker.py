"""`flask worker`: the process that runs jobs."""

import json
import os
import sys

import click

from webapp.fleet.commands.groups import worker
from webapp.fleet.commands.printing import as_json, as_text, print_rows
from webapp.http.context import here
from webapp.instances import facts


@worker.command("status")
@as_json
def status(as_json: bool) -> None:
    """Show the queues and when the sweeps last ran."""
    c = here()
    with c.db.read() as session:
        queues = [vars(queue) for queue in c.jobs.status(session)]
        sweeps = [
            {"sweep": name, "last": as_text(fact.at) if fact else "never"}
            for name in ("capacity", "orphans", "stripe_events_looked_at")
            for fact in (facts.find(session, name),)
        ]
    if as_json:
        click.echo(json.dumps({"queues": queues, "sweeps": sweeps}, default=as_text, indent=1))
        return
    print_rows(queues, False, "")
    print_rows(sweeps, False, "")


@worker.command("run")
@click.option("--name", default="", help="This worker's name (the host's).")
def run(name: str) -> None:
    """Run a worker in this terminal, until Ctrl+C."""
    named = ["--name", name] if name else []
    os.execv(sys.executable, [sys.executable, "-m", "webapp.worker", *named])
