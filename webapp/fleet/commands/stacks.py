"""`flask stacks`: what plain pulumi needs."""

import shlex
from pathlib import Path

import click

from webapp.errors import ClawdetError, NotFound
from webapp.fleet import queries
from webapp.fleet.commands.groups import slug_argument, stacks
from webapp.http.context import here


@stacks.command("write-settings")
@slug_argument
def write_settings(slug: str) -> None:
    """Write what plain `pulumi preview -s SLUG` needs, and print its environment."""
    with here().db.read() as session:
        found = queries.find(session, slug)
    if found.status == "deleted":
        raise NotFound(f"{slug} was deleted.", "Its stack is gone; flask instances list --q says.")
    project = _configure(slug)
    elsewhere = "" if project == Path.cwd() else f" -C {shlex.quote(str(project))}"
    click.echo(
        f'# {slug} has today\'s settings. Next: eval "$(flask stacks write-settings {slug})"; '
        f"pulumi preview -s {slug}{elsewhere}",
        err=True,
    )


def _configure(slug: str) -> Path:
    """Renew the stack's settings, print the environment; the folder that pulumi is to run in."""
    # Lazily: the web process that imports this module must not load Pulumi.
    from stacks.__main__ import main
    from stacks.errors import StackError, UnknownStack
    from stacks.operations import Stacks
    from stacks.settings import Settings

    try:
        found = Stacks(Settings.read())
        try:
            found.configure(slug)
        except UnknownStack:
            found.init(slug)
    except StackError as error:
        raise ClawdetError(str(error), error.remedy) from error
    if main(["env"]) != 0:
        raise ClawdetError("The environment is not complete.", "Run: python -m stacks doctor")
    return found.settings.clawdet_project
