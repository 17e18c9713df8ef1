import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stacks.errors import Busy
from stacks.locks import current_holder, hold_slot, hold_stack

HOLD_FOREVER = """
import sys, time
from pathlib import Path
from stacks.locks import hold_stack
with hold_stack(Path(sys.argv[1]), "alice", "up") as lock:
    print("held", flush=True)
    time.sleep(60)
"""


def holding_process(directory: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_FOREVER, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_second_operation_is_refused_naming_the_holder(tmp_path: Path) -> None:
    process = holding_process(tmp_path)
    try:
        with (
            pytest.raises(Busy, match=f"up, process {process.pid}"),
            hold_stack(tmp_path, "alice", "destroy"),
        ):
            pass
    finally:
        end(process)


def test_other_stacks_are_free(tmp_path: Path) -> None:
    with hold_stack(tmp_path, "alice", "up"), hold_stack(tmp_path, "bob", "up"):
        assert current_holder(tmp_path, "alice") is not None
    assert current_holder(tmp_path, "alice") is None


def test_kill_9_frees_the_lock_and_leaves_the_holder_s_record(tmp_path: Path) -> None:
    process = holding_process(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    end(process)
    with hold_stack(tmp_path, "alice", "up") as lock:
        assert lock.previous is not None
        assert lock.previous.pid == process.pid


def test_a_clean_end_leaves_no_record(tmp_path: Path) -> None:
    with hold_stack(tmp_path, "alice", "up"):
        pass
    with hold_stack(tmp_path, "alice", "up") as lock:
        assert lock.previous is None


def test_a_failed_operation_leaves_its_record_for_the_next(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold_stack(tmp_path, "alice", "up"):
        raise RuntimeError("lost the answer")
    with hold_stack(tmp_path, "alice", "up") as lock:
        assert lock.previous is not None


def test_waiting_takes_over_as_soon_as_the_holder_ends(tmp_path: Path) -> None:
    process = holding_process(tmp_path)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    with hold_stack(tmp_path, "alice", "up", wait_s=20):
        assert time.monotonic() - began < 20
    end(process)


def test_slots_bound_operations_across_stacks(tmp_path: Path) -> None:
    with (
        hold_slot(tmp_path, 2, 0),
        hold_slot(tmp_path, 2, 0),
        pytest.raises(Busy, match="all 2 operation slots"),
        hold_slot(tmp_path, 2, 0),
    ):
        pass
    with hold_slot(tmp_path, 2, 0):
        pass
