"""The operators' commands; each parses, calls one operation, and prints."""

import argparse
import json
import os
import secrets
import shlex
import sys
from pathlib import Path

from stacks import engine, outside, terminal
from stacks.command_line import (
    DRIFTED,
    Adder,
    Parsers,
    confirmed,
    listener,
    operations,
    require_name,
    say,
    show,
)
from stacks.errors import StackError, UsageError
from stacks.fetching import cache_dir
from stacks.settings import Settings


def add_parsers(subparsers: Parsers) -> None:
    """Add the commands on whole stacks to the command line."""
    adder = Adder(subparsers)
    add, on_stack = adder.command, adder.on_stack
    add("env", _env, 'print the environment for plain pulumi: eval "$(python -m stacks env)"')
    listing = add("list", _list, "list the stacks and who holds them")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    init = on_stack("init", _init, "make a stack: keys, tokens, configuration; creates nothing")
    configure = on_stack(
        "configure",
        _configure,
        "renew a stack's credentials, endpoints and release from the settings",
    )
    for made in (init, configure):
        made.add_argument(
            "--without-install",
            action="store_true",
            help="server, certificate and name only; nothing is put on the server",
        )
    preview = on_stack("preview", _preview, "show what up would do")
    up = on_stack("up", _up, "make the world as the program says")
    for made in (preview, up):
        made.add_argument(
            "--refresh",
            action="store_true",
            help="look at the clouds first, so that drift is repaired",
        )
    up.add_argument(
        "--approve-server-change",
        metavar="SLUG",
        default="",
        help="the stack's name again: the server may be replaced or made anew",
    )
    on_stack("refresh", _refresh, "write into the state what the clouds have")
    on_stack(
        "drift",
        _drift,
        f"show how the clouds differ from the state, writing nothing; "
        f"exit code {DRIFTED} if they do",
    )
    destroy = adder.ending_server("destroy", _destroy, "remove everything the stack made")
    destroy.add_argument("--remove", action="store_true", help="forget the stack as well")
    on_stack("cancel", _cancel, "interrupt the stack's operation and leave a clean stack")
    on_stack("outputs", _outputs, "show the stack's outputs")
    on_stack("history", _history, "show the stack's past updates")
    on_stack("export", _export, "print the state (secrets stay encrypted)")
    import_ = on_stack("import", _import, "replace the state by an exported one")
    import_.add_argument("file", type=Path, help="what export printed; - for standard input")
    on_stack("check", _check, "check an instance from outside, as a customer would meet it")
    token = on_stack("token", _token, "print the instance's gateway token")
    token.description = "Print the instance's gateway token. It is a secret: mind your screen."


def _init(args: argparse.Namespace) -> int:
    operations(args).init(args.stack, install=not args.without_install)
    say(
        args,
        {"stack": args.stack},
        f"{args.stack} is made; next: python -m stacks preview {args.stack}",
    )
    return 0


def _configure(args: argparse.Namespace) -> int:
    operations(args).configure(args.stack, install=not args.without_install)
    say(args, {"stack": args.stack}, f"{args.stack} has today's settings")
    return 0


def _preview(args: argparse.Namespace) -> int:
    return show(args, operations(args).preview(args.stack, args.refresh))


def _up(args: argparse.Namespace) -> int:
    approved = confirmed(args.approve_server_change, args.stack, "--approve-server-change")
    return show(args, operations(args).up(args.stack, args.refresh, approved, listener(args)))


def _refresh(args: argparse.Namespace) -> int:
    return show(args, operations(args).refresh(args.stack, listener(args)))


def _drift(args: argparse.Namespace) -> int:
    result = operations(args).drift(args.stack)
    show(args, result)
    return DRIFTED if result.changed else 0


def _destroy(args: argparse.Namespace) -> int:
    require_name(args, "destroy")
    stacks = operations(args)
    result = stacks.destroy(args.stack, listener(args))
    if args.remove:
        stacks.remove(args.stack)
    return show(args, result)


def _cancel(args: argparse.Namespace) -> int:
    done = operations(args).cancel(args.stack)
    say(args, {"stack": args.stack, "done": done}, f"{args.stack}: {done}")
    return 0


def _outputs(args: argparse.Namespace) -> int:
    outputs = operations(args).outputs(args.stack)
    rows = [[name, str(value)] for name, value in sorted(outputs.items())]
    if args.json or not rows:
        print(json.dumps(outputs, indent=1) if args.json else "no outputs yet")
    else:
        terminal.console().print(terminal.table(rows))
    return 0


def _history(args: argparse.Namespace) -> int:
    updates = operations(args).history(args.stack)
    if args.json:
        print(json.dumps(updates, indent=1))
        return 0
    rows = [
        [
            str(u.get("version", "")),
            u["kind"],
            u["result"],
            u["startTime"],
            ", ".join(f"{n} {op}" for op, n in (u.get("resourceChanges") or {}).items()),
        ]
        for u in updates
    ]
    header = ("version", "kind", "result", "started", "changes")
    terminal.console().print(terminal.table(rows, header) if rows else "no updates yet")
    return 0


def _export(args: argparse.Namespace) -> int:
    print(json.dumps(operations(args).export(args.stack), indent=1))
    return 0


def _import(args: argparse.Namespace) -> int:
    try:
        text = sys.stdin.read() if str(args.file) == "-" else args.file.read_text()
        document = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{args.file}: {error}", "give a file that export printed") from error
    if not isinstance(document, dict) or "deployment" not in document:
        raise UsageError(f"{args.file} is no exported state", "give a file that export printed")
    operations(args).import_(args.stack, document)
    say(args, {"stack": args.stack}, f"{args.stack} has the state of {args.file}")
    return 0


def _check(args: argparse.Namespace) -> int:
    stacks = operations(args)
    url = stacks.settings.instance_url(args.stack)
    token = stacks.secrets(args.stack).gateway_token
    checks = outside.check_instance(url, args.stack, token)
    rows = [["ok", check.what, f"{check.seconds:.2f} s"] for check in checks]
    if args.json:
        print(json.dumps([vars(check) for check in checks]))
    else:
        terminal.console().print(terminal.table(rows))
    return 0


def _token(args: argparse.Namespace) -> int:
    token = operations(args).secrets(args.stack).gateway_token
    say(args, {"stack": args.stack, "token": token}, token)
    return 0


def _list(args: argparse.Namespace) -> int:
    stacks = operations(args)
    holders = {name: stacks.holder(name) for name in stacks.names()}
    rows = [[name, str(holder or "free")] for name, holder in holders.items()]
    if args.json:
        print(
            json.dumps([{"stack": n, "holder": str(h) if h else None} for n, h in holders.items()])
        )
    elif rows:
        terminal.console().print(terminal.table(rows, ("stack", "operation")))
    else:
        print("no stacks yet; the first one: python -m stacks init alice")
    return 0


def _env(_args: argparse.Namespace) -> int:
    settings = Settings.read()
    found = engine.find(cache_dir())
    if found is None:
        raise StackError("there is no Pulumi engine on this machine", "run `make setup`")
    folders = [str(settings.pulumi_home.resolve() / "bin"), str(found.path.parent)]
    path = [*folders, *(p for p in os.environ["PATH"].split(os.pathsep) if p not in folders)]
    values = {
        "PATH": os.pathsep.join(path),
        "PULUMI_HOME": str(settings.pulumi_home.resolve()),
        "PULUMI_BACKEND_URL": settings.backend_url,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if not settings.pulumi_config_passphrase.get_secret_value():
        values["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase_file(settings))
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _passphrase_file(settings: Settings) -> Path:
    """The file that the environment names, else one of this checkout's, made on first use."""
    if settings.pulumi_config_passphrase_file:
        return settings.pulumi_config_passphrase_file
    file = settings.state_dir / "passphrase"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32) + "\n")
        print(
            f"made a passphrase: {file} (keep it: the stacks can't be read without)",
            file=sys.stderr,
        )
    return file
