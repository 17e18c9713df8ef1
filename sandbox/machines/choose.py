"""Which machine driver this host can run."""

import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.machines import requirements
from sandbox.machines.api_only import ApiOnlyMachines
from sandbox.machines.driver import MachineError, Machines
from sandbox.machines.nspawn import NspawnMachines

KINDS = ("auto", "nspawn", "api-only")


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def choose(
    directory: Path, kind: str, clouds_port: int, progress: Callable[[str], None] = _print
) -> Machines:
    """A driver on `directory` (its own, made when absent).

    `kind`: "nspawn" for real machines (MachineError says what is missing), "api-only", or "auto"
    for the best this host can do, with `ApiOnlyMachines.reasons` saying why it isn't nspawn.
    `clouds_port`: the port on the host's loopback that machines reach as 10.77.0.1:18080.
    `progress` hears a line about each thing that takes long.
    """
    if kind not in KINDS:
        raise MachineError(f"unknown machine driver {kind!r}: one of {', '.join(KINDS)}")
    if kind == "api-only":
        return ApiOnlyMachines(directory)
    if kind == "nspawn":
        return NspawnMachines(directory, clouds_port, progress)
    if reasons := requirements.problems():
        return ApiOnlyMachines(directory, reasons)
    try:
        return NspawnMachines(directory, clouds_port, progress)
    except MachineError as error:
        return ApiOnlyMachines(directory, (str(error),))
