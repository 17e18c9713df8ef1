"""Real Linux machines that stand in for rented servers."""

from sandbox.machines.choose import choose
from sandbox.machines.driver import MachineError, Machines, MachineSpec, PowerState

__all__ = ["MachineError", "MachineSpec", "Machines", "PowerState", "choose"]
