"""`make run`: Clawdet on this machine. With keys in the environment, for the real companies;
without any, with a sandbox of them."""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

from local.environment import OPERATOR, HalfGiven, exports, shed, wants_sandbox
from local.processes import NotReady
from local.serving import Local, serve
from sandbox.keeping import SandboxError
from sandbox.processes import PortInUseError
from stacks.settings import STATE

RUN = STATE / "run"


def main() -> int:
    """Serve until Ctrl-C; the exit code."""
    chosen = _parser().parse_args()
    if chosen.what == "env":
        return _print_environment(chosen.dir)
    signal.signal(signal.SIGTERM, _interrupt)
    shed(chosen.dir)
    try:
        sandboxed = wants_sandbox(os.environ)
        with serve(
            chosen.dir, chosen.port, _tell, sandboxed=sandboxed, machines=chosen.machines
        ) as found:
            _welcome(found, chosen.dir)
            found.watch(_tell)
    except (HalfGiven, NotReady, PortInUseError, SandboxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; `make run` goes on where this left off")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("serve", "env"),
        default="serve",
        help="serve (default), or print, as shell exports, what the processes are given",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=RUN,
        metavar="FOLDER",
        help="where the database, the logs and the sandbox are kept (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=8000, help="0: a free one (default: 8000)")
    parser.add_argument(
        "--machines",
        choices=("auto", "nspawn", "api-only"),
        default="auto",
        help="what the sandbox's servers are (default: real machines where possible)",
    )
    return parser


def _print_environment(directory: Path) -> int:
    try:
        given = exports(directory)
    except FileNotFoundError:
        print(f"error: nothing was started in {directory} yet: run `make run`", file=sys.stderr)
        return 1
    for name, value in sorted(given.items()):
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _welcome(found: Local, directory: Path) -> None:
    print(f"\nClawdet is at {found.url}")
    if found.sandbox:
        running = found.sandbox.running
        print(
            f"  sign in      as anybody: the pretend X asks who you are; @{OPERATOR} sees the fleet"
        )
        print("  pay          with card 4242 4242 4242 4242, any date to come, any CVC")
        print(f"  letters      {running.mail_url}")
        print(f"  servers      {running.driver}")
        for reason in running.reasons:
            print(f"               {reason}")
    elsewhere = "" if directory == RUN else f" --dir {shlex.quote(str(directory))}"
    print(f'  commands     eval "$(python -m local env{elsewhere})"; flask --help')
    print(f"  logs         {directory}/web.log, {directory}/worker.log")
    print("  stop         Ctrl-C\n", flush=True)


def _tell(line: str) -> None:
    print(line, flush=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
