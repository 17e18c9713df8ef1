"""`python -m stacks`: the operations on instances' stacks, for operators."""

import argparse
import signal
import sys
from types import FrameType

from stacks import commands, doctor, setup
from stacks.errors import StackError


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code says how it went (see --help)."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
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
        sys.stderr.close()
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
    setup.add_parser(subparsers)
    doctor.add_parser(subparsers)
    return top


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
