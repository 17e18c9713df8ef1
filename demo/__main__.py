"""`make demo`: a customer's way in a browser, then the server's life, on nothing but this machine.

Exit codes: 0 every check held, 1 one did not, 3 some could not be shown here (it says which).
"""

import argparse
import shutil
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from playwright.sync_api import Error as PlaywrightError
from rich.console import Console

from demo.journey import Journey, browser_page
from demo.life import Life
from demo.steps import Steps, Unfulfilled
from local.processes import NotReady
from local.serving import serve
from sandbox import running
from sandbox.keeping import SandboxError
from stacks.errors import StackError
from stacks.settings import STATE, Settings

NOT_ALL_SHOWN = 3
DATABASE = "clawdet.sqlite3"
OURS = {
    *("sandbox", "project", "pictures", "keys.json", "environment.json", "web.log", "worker.log"),
    *(DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}.worker"),
}


def main() -> int:
    """Run the demonstration; its exit code."""
    chosen = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    steps = Steps(console)
    try:
        code = _show(console, steps, chosen.dir.resolve(), chosen.pictures)
        if chosen.pictures:
            steps.save_table(chosen.pictures / "demo.svg")
        return code
    except (
        Unfulfilled,
        StackError,
        SandboxError,
        NotReady,
        PlaywrightError,
        AssertionError,
    ) as error:
        steps.print_table()
        console.print(f"\n[bold red]not so:[/] {error}", soft_wrap=True)
        for line in (getattr(error, "remedy", ""), getattr(error, "log", "")):
            if line:
                console.print(line, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\ninterrupted; nothing is left running, `make demo` starts afresh")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Take a customer from the landing page to a chat with their own assistant, in "
        "a real browser; then damage and repair the server, and close the account. The companies "
        "are a sandbox on this machine; engine, servers and assistant are real.",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=STATE / "demo",
        metavar="FOLDER",
        help="where it keeps its sandbox and state; emptied first (default: %(default)s)",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="save the screenshots and the closing table there (default: below --dir)",
    )
    return parser


def _show(console: Console, steps: Steps, directory: Path, pictures: Path | None) -> int:
    _fresh(directory)
    with ExitStack() as cleanup:
        with steps.step("start the sandbox, the web app and its worker") as remark:
            found = cleanup.enter_context(serve(directory, 0, console.print, sandboxed=True))
            sandbox = found.sandbox
            assert sandbox  # as asked
            remark(f"{found.url}; machines: {sandbox.running.driver}")
        given = {name.lower(): value for name, value in found.environment.items()}
        settings = Settings.model_validate({**given, "pulumi_home": STATE / "pulumi"})
        life = Life(console, steps, sandbox, settings, sandbox.running.driver == "nspawn")
        if not life.real:
            life.run()
            steps.print_table()
            console.print("\nLeft out, for want of real machines: the customer's way, the install.")
            for reason in sandbox.running.reasons:
                console.print(f"  {reason}", markup=False)
            return NOT_ALL_SHOWN
        with browser_page() as page:
            journey = Journey(steps, found, page, pictures or directory / "pictures")
            journey.to_ones_own_assistant()
            life.middle()
            journey.close_account()
        life.ended()
    steps.print_table()
    console.print(f"\nEvery check held. Screenshots: {journey.pictures}")
    return 0


def _fresh(directory: Path) -> None:
    """Begin with nothing, whatever an earlier run left; a running one is left alone."""
    found = running.find(directory / "sandbox")
    if found:
        raise SandboxError(
            f"A demo is running already (process {found.supervisor.pid}). Wait for its end."
        )
    strange = {path.name for path in directory.glob("*")} - OURS
    if strange:
        raise SandboxError(
            f"{directory} holds {', '.join(sorted(strange))}, which no demo made. "
            "Name an empty folder."
        )
    shutil.rmtree(directory, ignore_errors=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
