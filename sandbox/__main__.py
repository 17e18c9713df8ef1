"""Command line of the sandbox, Clawdet's outside world in a box.

Starts pretend Hetzner Cloud, Cloudflare and Anthropic APIs, real Linux machines for the servers
that are created there, and an edge that shows instances in a browser on this machine. Everything
stays on loopback and in network namespaces of its own; state survives a restart.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from sandbox import running
from sandbox.downloads import artifacts
from sandbox.downloads.recipe import ArtifactError
from sandbox.keeping import SandboxError
from sandbox.machines import image, requirements
from sandbox.machines.choose import KINDS
from sandbox.machines.driver import MachineError
from sandbox.running import Running
from sandbox.supervisor import STOP_S, Options, Supervisor

DIRECTORY = Path(".clawdet/sandbox")
NOT_RUNNING = 3
"""Exit code of `status`, as service managers use it (LSB)."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(highlight=False, soft_wrap=True, stderr=True)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    chosen = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        return command(chosen)
    except (SandboxError, MachineError, ArtifactError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error}. Check --dir, its permissions and the space on its disk.")
    except KeyboardInterrupt:
        return INTERRUPTED


def _fail(message: str) -> int:
    ERR.print(f"[bold red]error:[/] {escape(message)}")
    return 1


def _serve(chosen: argparse.Namespace) -> int:
    options = Options(
        directory=chosen.dir,
        clouds_port=chosen.clouds_port,
        edge_port=chosen.edge_port,
        machines=chosen.machines,
        action_seconds=chosen.action_seconds,
        parent=chosen.parent,
    )
    Supervisor(options, _tell).run(_explain)
    return 0


def _status(chosen: argparse.Namespace) -> int:
    found = running.find(chosen.dir)
    if chosen.json:
        OUT.print_json(found.model_dump_json() if found else "null")
    elif found:
        _explain(found)
    else:
        OUT.print(f"No sandbox runs in {escape(str(chosen.dir))}.")
        OUT.print("Start one with: python -m sandbox serve")
    return 0 if found else NOT_RUNNING


def _env(chosen: argparse.Namespace) -> int:
    environment = _require(chosen.dir).environment()
    if chosen.json:
        print(json.dumps(environment, indent=1))
    else:
        for name, value in environment.items():
            print(f"export {name}={shlex.quote(value)}")
    return 0


def _stop(chosen: argparse.Namespace) -> int:
    found = _require(chosen.dir)
    found.supervisor.terminate(STOP_S)
    if found.supervisor.alive():
        raise SandboxError(
            f"Process {found.supervisor.pid} has not ended within {STOP_S:.0f} s. Its log may say"
            f" why; kill -9 {found.supervisor.pid} is safe: the next start cleans up."
        )
    OUT.print("Stopped.")
    return 0


def _setup(chosen: argparse.Namespace) -> int:
    problems = () if chosen.machines == "nspawn" else requirements.problems()
    if chosen.machines == "api-only" or problems:
        OUT.print("Servers will exist in the API only, which needs no preparation.")
        _list_reasons(problems)
        return 0
    image.ensure(_tell)
    artifacts.ensure(_tell)
    OUT.print("The sandbox is set up.")
    return 0


def _require(directory: Path) -> Running:
    found = running.find(directory)
    if found is None:
        raise SandboxError(
            f"No sandbox runs in {directory}. Start one with:"
            f" python -m sandbox serve --dir {shlex.quote(str(directory))}"
        )
    return found


def _explain(found: Running) -> None:
    """What runs, and how to use it."""
    rows = {
        "Hetzner": f"{found.clouds_url}/v1",
        "Cloudflare": f"{found.clouds_url}/client/v4/",
        "Anthropic": f"{found.clouds_url}/anthropic",
        "Stripe": f"{found.clouds_url}/stripe",
        "X": f"{found.clouds_url}/x",
        "Letters": found.mail_url,
        "Instances": found.instance_url.format(slug="SLUG"),
        "Admin": found.admin_url,
        "Machines": found.driver,
        "Directory": str(found.directory),
        "Process": str(found.supervisor.pid),
    }
    OUT.print("[bold green]The sandbox is running.[/]")
    for name, value in rows.items():
        OUT.print(f"  [bold]{name:<11}[/]{escape(value)}")
    _list_reasons(found.reasons)
    directory = escape(shlex.quote(str(_as_written(found.directory))))
    OUT.print(f'Use it: [cyan]eval "$(python -m sandbox env --dir {directory})"[/]')
    OUT.print(f"End it: Ctrl-C, or [cyan]python -m sandbox stop --dir {directory}[/]")


def _as_written(directory: Path) -> Path:
    """The directory as somebody in the current one would write it."""
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory


def _list_reasons(reasons: tuple[str, ...]) -> None:
    for reason in reasons:
        OUT.print(f"  [yellow]No real machines:[/] {escape(reason)}")


def _tell(line: str) -> None:
    OUT.print(escape(line))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    setup = commands.add_parser("setup", help="make what is slow to make: base image, downloads")
    setup.set_defaults(command=_setup)
    _add_machines(setup)

    serve = commands.add_parser("serve", help="run the sandbox until Ctrl-C")
    serve.set_defaults(command=_serve)
    _add_directory(serve)
    _add_machines(serve)
    port = "port on 127.0.0.1 (0: last time's, or a free one)"
    serve.add_argument("--clouds-port", type=_port, default=0, metavar="N", help=f"APIs: {port}")
    serve.add_argument("--edge-port", type=_port, default=0, metavar="N", help=f"browsers: {port}")
    serve.add_argument(
        "--action-seconds",
        type=_seconds,
        default=0.0,
        metavar="X",
        help="how long a cloud action shows as running at least (0)",
    )
    serve.add_argument("--parent", type=int, metavar="PID", help="end when this process ends")

    for name, command, text in (
        ("status", _status, "say what runs and how to use it"),
        ("env", _env, "print the product's settings for this sandbox as shell exports"),
    ):
        added = commands.add_parser(name, help=text)
        added.set_defaults(command=command)
        _add_directory(added)
        added.add_argument("--json", action="store_true", help="the same for programs")

    stop = commands.add_parser("stop", help="end a sandbox that runs elsewhere; keeps its state")
    stop.set_defaults(command=_stop)
    _add_directory(stop)
    return parser


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir", type=Path, default=DIRECTORY, help=f"the sandbox's directory ({DIRECTORY})"
    )


def _add_machines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--machines",
        choices=KINDS,
        default="auto",
        help="real Linux machines (nspawn, needs root), servers in the API only, or the better"
        " of the two that this computer can do (auto)",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give 0 to 3600 seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
