"""What the modules of commands share: adding them, and how they ask and answer."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from stacks import terminal
from stacks.errors import UsageError
from stacks.settings import Settings

if TYPE_CHECKING:  # the SDKs take half a second: only a command that needs them waits for it
    from stacks.events import Progress
    from stacks.operations import Result, Stacks

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Handler = Callable[[argparse.Namespace], int]
DRIFTED = 5


class Adder:
    """Adds commands to the command line."""

    def __init__(self, subparsers: Parsers) -> None:
        self._subparsers = subparsers

    def command(self, name: str, handler: Handler, help_: str) -> argparse.ArgumentParser:
        """A command."""
        made = self._subparsers.add_parser(
            name, help=help_, description=help_[0].upper() + help_[1:]
        )
        made.set_defaults(handler=handler)
        return made

    def on_stack(self, name: str, handler: Handler, help_: str) -> argparse.ArgumentParser:
        """A command on one stack: STACK, --wait, --json."""
        made = self.command(name, handler, help_)
        made.add_argument("stack", help="the instance's slug, e.g. alice")
        made.add_argument(
            "--wait",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="wait that long for another operation's end (default: refuse)",
        )
        made.add_argument("--json", action="store_true", help="print one JSON document")
        return made

    def ending_server(self, name: str, handler: Handler, help_: str) -> argparse.ArgumentParser:
        """A command that ends a server: --yes."""
        made = self.on_stack(name, handler, help_)
        made.add_argument(
            "--yes",
            metavar="SLUG",
            default="",
            help="the stack's name again; asked for on a terminal otherwise",
        )
        return made


def operations(args: argparse.Namespace) -> "Stacks":
    """The operations under the environment's settings."""
    from stacks.operations import Stacks

    return Stacks(Settings.read(), wait_s=getattr(args, "wait", 0.0))


def listener(args: argparse.Namespace) -> "Callable[[Progress], None]":
    """Prints progress line by line."""
    from stacks import render

    # Progress goes to stderr when stdout is for a machine.
    console = terminal.console(stderr=args.json)
    return lambda progress: render.print_progress(console, progress)


def show(args: argparse.Namespace, result: "Result") -> int:
    """Print a result; the exit code."""
    from stacks import render

    if args.json:
        print(render.to_json(result))
    else:
        render.print_result(terminal.console(), result)
    return 0


def require_name(args: argparse.Namespace, command: str) -> None:
    """UsageError unless the stack's name was typed again, by --yes or now on a terminal."""
    typed = args.yes
    if not typed and sys.stdin.isatty():
        typed = input(f"This ends {args.stack} and everything on it. Type its name: ")
    if not confirmed(typed, args.stack, "--yes"):
        raise UsageError(
            "not confirmed", f"python -m stacks {command} {args.stack} --yes {args.stack}"
        )


def confirmed(typed: str, stack: str, option: str) -> bool:
    """Whether the stack's name was typed again; UsageError if another one was."""
    if typed and typed != stack:
        raise UsageError(f"{option} says {typed!r}, the stack is {stack!r}", "type its name")
    return bool(typed)


def say(args: argparse.Namespace, document: dict[str, Any], words: str) -> None:
    """Print the document or the words, as was asked."""
    print(json.dumps(document) if args.json else words)
