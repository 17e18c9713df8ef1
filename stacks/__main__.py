"""`python -m stacks`: the operations on instances' stacks, for operators."""

import argparse
import signal
import sys
import time
import warnings
from collections.abc import Callable
from types import FrameType

from stacks import commands, doctor, server_commands, setup, terminal
from stacks.errors import StackError

BURST_S = 1.0

Hook = Callable[["sys.UnraisableHookArgs"], object]


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code says how it went (see --help)."""
    args = parser().parse_args(argv)
    interrupt = _Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, interrupt)
    sys.unraisablehook = _quietly(sys.unraisablehook)
    warnings.filterwarnings("ignore", "Error in event stream")  # the SDK's, of an engine we killed
    try:
        return int(args.handler(args))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.remedy:
            print(f"       {error.remedy}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the next operation goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        terminal.drop_stdout()
        return 141


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m stacks",
        description="Preview, apply, watch and destroy instances: one Pulumi stack each.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 busy, 4 needs approval, "
        "5 drift found, 130 cancelled. "
        "Settings come from the environment: docs/settings.md.",
    )
    subparsers = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    commands.add_parsers(subparsers)
    server_commands.add_parsers(subparsers)
    setup.add_parser(subparsers)
    doctor.add_parser(subparsers)
    return top


def _quietly(hook: Hook) -> Hook:
    """A failed operation leaves coroutines of Pulumi's SDK behind, half run. Python tells of each
    on stderr when it collects them; that helps nobody who reads our error."""

    def unraisable(found: "sys.UnraisableHookArgs") -> None:
        code = getattr(found.object, "cr_code", None)
        if code is None or "/pulumi/" not in code.co_filename:
            hook(found)

    return unraisable


class _Interrupt:
    """Raises KeyboardInterrupt on a signal. Several within a second are one wish: a second
    exception in the middle of what the first one leads to would cut that short."""

    def __init__(self) -> None:
        self._last = -BURST_S

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= BURST_S:
            self._last = now
            raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
