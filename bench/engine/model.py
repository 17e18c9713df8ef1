"""What is measured, and the arithmetic on it: medians, ratios, targets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

OPERATIONS = ("preview", "up", "no-op up", "drift", "destroy")
"""In the order of a stack's life: each leaves the stack as the next one wants it."""

PLAIN, USUAL, COMMAND, OWN, SHARED = "plain", "usual", "command", "own", "shared"
WAYS = {
    PLAIN: "plain `pulumi`, one process each",
    USUAL: "the usual Automation API example, one Python process each",
    COMMAND: "`python -m stacks`, one process each",
    OWN: "threads of one warm process, each engine starting its plugins",
    SHARED: "threads of one warm process, provider servers shared",
}

MOST_TIMES_PLAIN = 1.1
LEAST_TIMES_FASTER = 2.5
MOST_MB_PER_OPERATION = 110
MANY = 8


@dataclass(frozen=True)
class Measured:
    """One operation on `stacks` stacks at once.

    `seconds`: wall time until the last one ended. `peak_mb`: the most that the way's processes
    held together (PSS, MiB). `cpu_s`: processor time that they took, which a neighbour's load
    hardly touches. `sandbox_cpu_s`: what the clouds took meanwhile, not counted in it. `others`:
    share of the machine, 0 to 1, that strangers used just before.
    """

    way: str
    operation: str
    stacks: int
    seconds: float
    peak_mb: float
    cpu_s: float
    sandbox_cpu_s: float
    others: float


@dataclass(frozen=True)
class Cell:
    """The median of `runs` measurements of one thing."""

    way: str
    operation: str
    stacks: int
    seconds: float
    peak_mb: float
    cpu_s: float
    runs: int

    @property
    def mb_per_operation(self) -> float:
        """Peak PSS of the whole tree, what is shared included, divided by the operations."""
        return self.peak_mb / self.stacks

    @property
    def cpu_s_per_operation(self) -> float:
        """Processor seconds of the whole tree, divided by the operations."""
        return self.cpu_s / self.stacks


@dataclass(frozen=True)
class Target:
    """Something promised: `wanted` and `got` in words, and whether it was kept."""

    what: str
    wanted: str
    got: str
    ok: bool


class Results:
    """Cells by way, operation and number of stacks."""

    def __init__(self, measured: Iterable[Measured]) -> None:
        groups: dict[tuple[str, str, int], list[Measured]] = {}
        for one in measured:
            groups.setdefault((one.way, one.operation, one.stacks), []).append(one)
        self._cells = {key: _cell(*key, found) for key, found in groups.items()}

    @property
    def sizes(self) -> list[int]:
        """How many stacks at once were measured."""
        return sorted({stacks for _, _, stacks in self._cells})

    def get(self, way: str, operation: str, stacks: int) -> Cell | None:
        """One cell; None if it wasn't measured."""
        return self._cells.get((way, operation, stacks))

    def of(self, way: str, stacks: int) -> list[Cell]:
        """A way's cells in the order of a stack's life."""
        found = (self.get(way, operation, stacks) for operation in OPERATIONS)
        return [cell for cell in found if cell]

    def ratios(self, way: str, base: str, stacks: int) -> dict[str, float]:
        """Seconds of `way` in units of `base`'s, by operation; only what both have."""
        pairs = ((cell, self.get(base, cell.operation, stacks)) for cell in self.of(way, stacks))
        return {cell.operation: cell.seconds / other.seconds for cell, other in pairs if other}


def targets(results: Results, mb_per_operation_setting: int) -> list[Target]:
    """Issue 3's targets, each judged by its worst operation; those not measured are left out."""
    found = [_not_slower(results, way) for way in (SHARED, OWN, COMMAND)]
    found += [_faster(results, SHARED), _lean(results, SHARED)]
    found += [_bounded(results, way, mb_per_operation_setting) for way in (SHARED, OWN, COMMAND)]
    return [target for target in found if target]


def _not_slower(results: Results, way: str) -> Target | None:
    ratios = results.ratios(way, PLAIN, 1)
    if not ratios:
        return None
    worst = max(ratios, key=ratios.__getitem__)
    return Target(
        f"one operation, {way}, beside plain `pulumi`",
        f"at most {MOST_TIMES_PLAIN} times",
        f"{ratios[worst]:.2f} times ({worst})",
        ratios[worst] <= MOST_TIMES_PLAIN,
    )


def _faster(results: Results, way: str) -> Target | None:
    ratios = results.ratios(USUAL, way, MANY)
    if not ratios:
        return None
    worst = min(ratios, key=ratios.__getitem__)
    return Target(
        f"{MANY} at once, {way}, beside one process each",
        f"at least {LEAST_TIMES_FASTER} times faster",
        f"{ratios[worst]:.2f} times ({worst})",
        ratios[worst] >= LEAST_TIMES_FASTER,
    )


def _lean(results: Results, way: str) -> Target | None:
    worst = _hungriest(results.of(way, MANY))
    if worst is None:
        return None
    return Target(
        f"memory per operation, {MANY} at once, {way}",
        f"under {MOST_MB_PER_OPERATION} MB",
        f"{worst.mb_per_operation:.0f} MB ({worst.operation})",
        worst.mb_per_operation < MOST_MB_PER_OPERATION,
    )


def _bounded(results: Results, way: str, setting: int) -> Target | None:
    worst = _hungriest(results.of(way, MANY))
    if worst is None:
        return None
    return Target(
        f"memory bound, {way}",
        f"at most the {setting} MB of the setting",
        f"{worst.mb_per_operation:.0f} MB ({worst.operation})",
        worst.mb_per_operation <= setting,
    )


def _hungriest(cells: Sequence[Cell]) -> Cell | None:
    return max(cells, key=lambda cell: cell.peak_mb, default=None)


def _cell(way: str, operation: str, stacks: int, found: list[Measured]) -> Cell:
    return Cell(
        way,
        operation,
        stacks,
        median(one.seconds for one in found),
        median(one.peak_mb for one in found),
        median(one.cpu_s for one in found),
        len(found),
    )
