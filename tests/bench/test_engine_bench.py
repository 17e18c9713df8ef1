"""The arithmetic of the benchmark, and its view of processes. Measuring is `make bench`."""

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from bench.engine.model import COMMAND, MANY, OWN, PLAIN, SHARED, USUAL, Measured, Results, targets
from bench.engine.processes import PeakMemory, Tree, pss_mb

MIB = 2**20
HELD_MIB = 64

# Holds memory of its own, and starts another one like it in a session of its own. The one that is
# between them ends when we say so, and leaves its child to another parent.
PARENT = f"""
import subprocess, sys, time
child = "held = bytearray({HELD_MIB} * {MIB}); print('up', flush=True); import time; time.sleep(60)"
between = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); input()"
started = subprocess.Popen(
    [sys.executable, "-c", between, child], stdin=subprocess.PIPE, start_new_session=True
)
held = bytearray({HELD_MIB} * {MIB})
input()
started.communicate(b"end\\n")
print("up", flush=True)
time.sleep(60)
"""


def measured(way: str, operation: str, stacks: int, seconds: float, mb: float = 100.0) -> Measured:
    return Measured(
        way=way,
        operation=operation,
        stacks=stacks,
        seconds=seconds,
        peak_mb=mb,
        cpu_s=1.0,
        sandbox_cpu_s=0.1,
        others=0.0,
    )


def test_a_cell_is_the_median_of_its_runs() -> None:
    results = Results(measured(PLAIN, "up", 4, s, mb) for s, mb in ((9, 8), (1, 400), (2, 440)))
    cell = results.get(PLAIN, "up", 4)
    assert cell is not None
    assert (cell.seconds, cell.runs, cell.mb_per_operation) == (2, 3, 100)


def test_ratios_are_taken_operation_by_operation_where_both_ways_have_one() -> None:
    results = Results(
        [
            measured(PLAIN, "up", 1, 4.0),
            measured(PLAIN, "drift", 1, 2.0),
            measured(SHARED, "up", 1, 1.0),
            measured(SHARED, "destroy", 1, 1.0),
        ]
    )
    assert results.ratios(SHARED, PLAIN, 1) == {"up": 0.25}
    assert results.ratios(SHARED, PLAIN, 8) == {}


def test_a_target_is_judged_by_its_worst_operation() -> None:
    found = targets(
        Results(
            [
                measured(PLAIN, "up", 1, 2.0),
                measured(PLAIN, "drift", 1, 2.0),
                measured(SHARED, "up", 1, 2.0),
                measured(SHARED, "drift", 1, 2.4),
                measured(USUAL, "up", MANY, 24.0),
                measured(USUAL, "drift", MANY, 30.0),
                measured(SHARED, "up", MANY, 10.0, mb=800),
                measured(SHARED, "drift", MANY, 10.0, mb=900),
            ]
        ),
        mb_per_operation_setting=112,
    )
    assert [(target.got, target.ok) for target in found] == [
        ("1.20 times (drift)", False),
        ("2.40 times (up)", False),
        ("112 MB (drift)", False),
        ("112 MB (drift)", False),
    ]


def test_targets_are_kept_at_their_very_bounds() -> None:
    found = targets(
        Results(
            [
                measured(PLAIN, "up", 1, 10.0),
                *(measured(way, "up", 1, 11.0) for way in (OWN, SHARED, COMMAND)),
                measured(USUAL, "up", MANY, 25.0),
                *(measured(way, "up", MANY, 10.0, mb=8 * 109) for way in (OWN, SHARED, COMMAND)),
            ]
        ),
        mb_per_operation_setting=109,
    )
    assert len(found) == 8
    assert all(target.ok for target in found)


def test_what_was_not_measured_is_not_judged() -> None:
    assert targets(Results([measured(SHARED, "up", 4, 1.0)]), 160) == []


@pytest.fixture
def family() -> Iterator["tuple[Tree, subprocess.Popen[str]]"]:
    tree = Tree()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        tree.add(process.pid)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert len(tree.members()) == 3
        process.stdin.write("end\n")
        process.stdin.flush()
        assert process.stdout.readline() == "up\n"
        try:
            yield tree, process
        finally:
            for pid in tree.members():
                psutil.Process(pid).kill()


def test_a_grandchild_in_another_session_whose_parent_ended_still_belongs(
    family: "tuple[Tree, subprocess.Popen[str]]",
) -> None:
    tree, process = family
    (orphan,) = tree.members() - {process.pid}
    assert psutil.Process(orphan).ppid() != process.pid


def test_the_peak_is_the_sum_over_the_tree_and_outlives_it(
    family: "tuple[Tree, subprocess.Popen[str]]",
) -> None:
    tree, process = family
    with PeakMemory(tree) as memory:
        time.sleep(0.5)
        for pid in tree.members():
            psutil.Process(pid).kill()
        process.wait()
    assert 2 * HELD_MIB < memory.mb < 2 * HELD_MIB + 60


def test_a_process_that_is_gone_holds_nothing_and_is_in_no_tree() -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    pid = int(process.stdout)
    assert pss_mb(pid) == 0
    tree = Tree()
    tree.add(pid)
    assert tree.members() == set()


def test_processor_time_of_the_tree_is_counted_and_ours_is_not() -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.5: pass\n"
    tree = Tree()
    with subprocess.Popen(
        [sys.executable, "-c", burn + "print(); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        tree.add(process.pid)
        before = tree.cpu_s()
        assert process.stdout is not None
        process.stdout.readline()
        sum(range(10**6))
        assert 0.3 < tree.cpu_s() - before < 0.9
