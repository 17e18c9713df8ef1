"""The groups of commands, and what those of several groups share."""

import getpass
from typing import Any

import click
import structlog
from flask.cli import AppGroup

from webapp.errors import ClawdetError
from webapp.fleet.blueprint import fleet
from webapp.http import logs

slug_argument = click.argument("slug")


class Commands(AppGroup):
    """A group whose errors say what happened and what to do next."""

    def invoke(self, ctx: click.Context) -> Any:
        """Exit code 1 on an error of ours."""
        if not structlog.is_configured():
            logs.configure(level=30)  # what people asked for goes to stdout, and nothing else
        try:
            return super().invoke(ctx)
        except ClawdetError as error:
            click.echo(f"error: {error.title}", err=True)
            if error.detail:
                click.echo(f"next:  {error.detail}", err=True)
            ctx.exit(1)


users = Commands("users", help="Who has signed in, and what they pay.")
instances = Commands("instances", help="Instances: list, look, mend, end.")
stacks = Commands("stacks", help="Stacks, for plain pulumi.")
webhooks = Commands("webhooks", help="What Stripe has told us, and what came of it.")
worker = Commands("worker", help="The process that runs jobs.")
for group in (users, instances, stacks, webhooks, worker):
    fleet.cli.add_command(group)


def actor() -> str:
    """Who runs the command, as the record names them."""
    return f"operator {getpass.getuser()}"
