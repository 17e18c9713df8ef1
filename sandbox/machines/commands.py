"""Running the system's programs."""

import os
import subprocess

from sandbox.machines.driver import MachineError

SBIN = "/usr/sbin:/sbin"


def search_path() -> str:
    """PATH with the system administration programs, which some shells leave out."""
    return f"{os.environ.get('PATH', os.defpath)}:{SBIN}"


def run(*command: str, stdin: str = "", accept: tuple[int, ...] = (0,)) -> str:
    """Run a command for its output. Raises MachineError, with what it said, when it fails."""
    result = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": search_path(), "LC_ALL": "C.UTF-8"},
    )
    if result.returncode not in accept:
        said = result.stderr.strip() or result.stdout.strip()
        raise MachineError(
            f"{command[0]} failed with exit code {result.returncode}: {said[-2000:]}"
        )
    return result.stdout
