"""`make demo`: one customer's server through its whole life, with nothing but this machine.

Exit codes: 0 every check held, 1 one did not, 3 some could not be shown here (it says which).
"""

import argparse
import secrets
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo.life import Life
from demo.steps import Steps, Unfulfilled
from sandbox import running
from sandbox.keeping import SandboxError
from sandbox.supervisor import Sandbox
from stacks.errors import StackError
from stacks.project import make_project
from stacks.settings import STATE, Settings

NOT_ALL_SHOWN = 3


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
    except (Unfulfilled, StackError, SandboxError) as error:
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
        description="Take one customer's server through its life: made by the real Pulumi engine "
        "in a sandbox of the clouds on this machine, checked, damaged, repaired, destroyed.",
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
        help="save the closing table and the instance's landing page there (needs chromium)",
    )
    return parser


def _show(console: Console, steps: Steps, directory: Path, pictures: Path | None) -> int:
    _fresh(directory)
    with steps.step("start the sandbox: clouds, machines, edge") as remark:
        sandbox = Sandbox.start(directory / "sandbox")
        remark(f"machines: {sandbox.running.driver}")
    with sandbox:
        real = sandbox.running.driver == "nspawn"
        project = directory / "project"
        make_project(project)
        settings = Settings.model_validate(
            {
                **{name.lower(): value for name, value in sandbox.environment().items()},
                "clawdet_project": project,
                "pulumi_backend_url": f"file://{project / '.clawdet' / 'state'}",
                "pulumi_config_passphrase": secrets.token_urlsafe(24),
            }
        )
        Life(console, steps, sandbox, settings, real, pictures).run()
        reasons = sandbox.running.reasons
    steps.print_table()
    if real:
        console.print("\nEvery check held.")
        return 0
    console.print("\nLeft out, for want of real machines: the install, the checks from outside.")
    for reason in reasons:
        console.print(f"  {reason}", markup=False)
    return NOT_ALL_SHOWN


def _fresh(directory: Path) -> None:
    """Begin with nothing, whatever an earlier run left; a running one is left alone."""
    found = running.find(directory / "sandbox")
    if found:
        raise SandboxError(
            f"A demo is running already (process {found.supervisor.pid}). Wait for its end."
        )
    strange = {path.name for path in directory.glob("*")} - {"sandbox", "project"}
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
