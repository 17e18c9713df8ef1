"""The operators' commands on servers: power, restart, token, rebuild, backup, stock, sweep."""

import argparse
import json
from dataclasses import asdict

from stacks import terminal
from stacks.command_line import (
    DRIFTED,
    Adder,
    Parsers,
    listener,
    operations,
    require_name,
    say,
    show,
)
from stacks.errors import NoCapacity


def add_parsers(subparsers: Parsers) -> None:
    """Add the commands on servers to the command line."""
    adder = Adder(subparsers)
    power = adder.on_stack("power", _power, "switch the stack's server on or off")
    power.add_argument("state", choices=("on", "off"), help="off: an orderly shutdown")
    adder.on_stack("restart", _restart, "shut the server down and switch it on again")
    rotate = adder.on_stack(
        "rotate-token", _rotate_token, "make and print a new gateway token; up brings it there"
    )
    rotate.description = (
        "Make a new gateway token and print it: it is a secret, mind your screen. "
        "The server takes the old one until the next up."
    )
    adder.ending_server(
        "rebuild", _rebuild, "make the server anew, from nothing; keys, tokens and name are kept"
    )
    adder.on_stack("backup", _backup, "keep a final snapshot of the server's disk")
    capacity = adder.command(
        "capacity", _capacity, "show which locations have the server type in stock"
    )
    sweep = adder.command(
        "sweep",
        _sweep,
        f"compare the clouds' lists with every stack, quickly; exit code {DRIFTED} if they differ",
    )
    sweep.add_argument("stacks", nargs="*", metavar="stack", help="only these (default: all)")
    for made in (capacity, sweep):
        made.add_argument("--json", action="store_true", help="print one JSON document")


def _power(args: argparse.Namespace) -> int:
    operations(args).power(args.stack, args.state == "on")
    say(
        args,
        {"stack": args.stack, "power": args.state},
        f"the server of {args.stack} is {args.state}",
    )
    return 0


def _restart(args: argparse.Namespace) -> int:
    operations(args).restart(args.stack)
    say(args, {"stack": args.stack}, f"the server of {args.stack} has restarted")
    return 0


def _rotate_token(args: argparse.Namespace) -> int:
    token = operations(args).rotate_token(args.stack)
    say(args, {"stack": args.stack, "token": token}, token)
    return 0


def _rebuild(args: argparse.Namespace) -> int:
    require_name(args, "rebuild")
    return show(args, operations(args).rebuild(args.stack, listener(args)))


def _backup(args: argparse.Namespace) -> int:
    image = operations(args).backup(args.stack)
    words = f"the backup of {args.stack} is image {image}" if image else "there is no server"
    say(args, {"stack": args.stack, "image": image}, words)
    return 0


def _capacity(args: argparse.Namespace) -> int:
    stock = operations(args).capacity()
    rows = [[location, "in stock" if has else "sold out"] for location, has in stock.items()]
    if args.json:
        print(json.dumps(stock))
    else:
        terminal.console().print(terminal.table(rows))
    return 0 if any(stock.values()) else NoCapacity.exit_code


def _sweep(args: argparse.Namespace) -> int:
    found = operations(args).sweep(args.stacks or None)
    rows = [
        [slug or "(no stack)", one.resource, one.property, one.expected or "-", one.found or "-"]
        for slug, findings in found.items()
        for one in findings
    ]
    if args.json:
        print(json.dumps({slug: [asdict(one) for one in all_] for slug, all_ in found.items()}))
    elif rows:
        header = ("stack", "resource", "property", "expected", "found")
        terminal.console().print(terminal.table(rows, header))
    else:
        print("the clouds have what the stacks expect")
    return DRIFTED if rows else 0
