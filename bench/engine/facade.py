"""Our way, as the product's runner works: one warm process, a thread per operation.

Run by `bench.engine.ways`: python -m bench.engine.facade own|shared. It says "ready", then reads
lines {"operation": …, "stacks": […]} and answers each with {"failed": [why, …]}.
"""

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from bench.engine.model import SHARED
from stacks.errors import StackError
from stacks.operations import Result, Stacks
from stacks.program import load_program
from stacks.provider_servers import provider_servers
from stacks.settings import Settings


def main() -> None:
    """Serve until the end of standard input."""
    settings = Settings.read()
    load_program()
    servers = provider_servers(settings.pulumi_home) if sys.argv[1] == SHARED else nullcontext("")
    with servers as debug_providers:
        stacks = Stacks(settings, debug_providers=debug_providers)
        print("ready", flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            print(json.dumps(_run(stacks, asked["operation"], asked["stacks"])), flush=True)


def _run(stacks: Stacks, operation: str, names: list[str]) -> dict[str, list[str]]:
    with ThreadPoolExecutor(len(names)) as pool:
        failed = pool.map(lambda name: _one(stacks, operation, name), names)
        return {"failed": [why for why in failed if why]}


def _one(stacks: Stacks, operation: str, name: str) -> str:
    acts: dict[str, Callable[[str], Result]] = {
        "preview": stacks.preview,
        "up": stacks.up,
        "no-op up": stacks.up,
        "drift": stacks.drift,
        "destroy": stacks.destroy,
    }
    try:
        result = acts[operation](name)
    except StackError as error:
        return f"{name}: {error}"
    quiet = operation in ("no-op up", "drift")
    return f"{name}: {operation} found {result.changes}" if quiet == result.changed else ""


if __name__ == "__main__":
    main()
