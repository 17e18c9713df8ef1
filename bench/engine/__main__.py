"""`python -m bench.engine`: what operations cost, ours beside plain `pulumi` and the usual example.

Exit codes: 0 measured (whether or not targets were met; --check makes a missed one 1), 2 could not
be measured, 130 interrupted.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from rich.console import Console

from bench.engine import render
from bench.engine.model import (
    COMMAND,
    MANY,
    OPERATIONS,
    OWN,
    PLAIN,
    SHARED,
    USUAL,
    Measured,
    Results,
    targets,
)
from bench.engine.processes import PeakMemory, busy_share
from bench.engine.ways import Way, one_process_each, start_facade
from bench.engine.world import BenchError, World, new_world
from sandbox.keeping import SandboxError
from stacks.errors import StackError
from stacks.operations import Stacks
from stacks.settings import MB_PER_OPERATION, Settings


@dataclass(frozen=True)
class Round:
    """One life of `stacks` stacks at once, by every way in turn."""

    stacks: int
    ways: tuple[str, ...]
    operations: tuple[str, ...]


FOUR_WAYS = (PLAIN, USUAL, OWN, SHARED)
FIVE_WAYS = (PLAIN, USUAL, COMMAND, OWN, SHARED)
# Ways take turns, so that a neighbour's load falls on all; what is quick is repeated more often.
FULL = (
    Round(1, FIVE_WAYS, OPERATIONS),
    Round(4, FOUR_WAYS, OPERATIONS),
    Round(1, FIVE_WAYS, OPERATIONS),
    Round(MANY, FIVE_WAYS, OPERATIONS),
    Round(1, FIVE_WAYS, OPERATIONS),
)
QUICK = (
    Round(1, FIVE_WAYS, ("up", "drift", "destroy")),
    Round(MANY, FOUR_WAYS, ("up", "drift", "destroy")),
)

Tell = Callable[[str], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    about = render.machine()
    try:
        measured = list(_measure_all(QUICK if args.quick else FULL, _say))
    except (BenchError, SandboxError, StackError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        return 130
    about["used_by_others"] = round(median(one.others for one in measured), 2)
    judged = targets(Results(measured), MB_PER_OPERATION)
    if args.json:
        print(render.to_json(measured, judged, about))
    else:
        render.print_report(console, measured, judged)
        console.print(f"\n{about}", markup=False)
    return int(args.check and not all(target.ok for target in judged))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="three operations, one round: minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--check", action="store_true", help="a missed target makes the exit code 1"
    )
    return parser


def _measure_all(rounds: Sequence[Round], tell: Tell) -> Iterator[Measured]:
    names = {way: [f"{way}-{number}" for number in range(MANY)] for way in FIVE_WAYS}
    with ExitStack() as running:
        world = running.enter_context(new_world())
        tell(f"making {MANY} stacks for each way…")
        used = [name for each in rounds for way in each.ways for name in names[way][: each.stacks]]
        _make_stacks(world, sorted(set(used)))
        ways: dict[str, Way] = {
            way: one_process_each(world, way) for way in (PLAIN, USUAL, COMMAND)
        }
        for way in (OWN, SHARED):
            ways[way] = running.enter_context(start_facade(world, way))
        for number, each in enumerate(rounds, 1):
            for way in each.ways:
                tell(f"round {number} of {len(rounds)}: {each.stacks} at once, {way}…")
                for operation in each.operations:
                    stacks = names[way][: each.stacks]
                    yield _measure(world, way, ways[way], operation, stacks)


def _measure(world: World, name: str, way: Way, operation: str, stacks: Sequence[str]) -> Measured:
    others = busy_share()
    before = way.tree.cpu_s(), world.sandbox_cpu_s()
    with PeakMemory(way.tree) as memory:
        began = time.monotonic()
        way.run(operation, stacks)
        seconds = time.monotonic() - began
    return Measured(
        way=name,
        operation=operation,
        stacks=len(stacks),
        seconds=seconds,
        peak_mb=memory.mb,
        cpu_s=way.tree.cpu_s() - before[0],
        sandbox_cpu_s=world.sandbox_cpu_s() - before[1],
        others=others,
    )


def _make_stacks(world: World, names: Sequence[str]) -> None:
    stacks = Stacks(
        Settings.model_validate({name.lower(): text for name, text in world.environment.items()})
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: stacks.init(name, install=False), names))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
