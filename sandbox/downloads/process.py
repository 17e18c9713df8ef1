"""Runs the tools that artifacts are made with."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.downloads.recipe import ArtifactError

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def run(
    command: Sequence[str], *, cwd: Path, timeout_s: float, env: Mapping[str, str] | None = None
) -> str:
    """The command's standard output; `env` is added to the environment.

    The tool gets a SIGINT when we die. Raises ArtifactError with the tool's last lines.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            preexec_fn=_die_with_parent,
        )
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{command[0]} was not done after {timeout_s:.0f} s") from error
    if done.returncode != 0:
        last_lines = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ArtifactError(f"{command[0]} ended with {done.returncode}: {last_lines}")
    return done.stdout


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
