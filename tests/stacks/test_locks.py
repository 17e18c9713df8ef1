import os
import signal
import subprocess
import sys
import threading
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


def test_looking_at_who_holds_a_stack_refuses_nobody(tmp_path: Path) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            current_holder(tmp_path, "alice")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            with hold_stack(tmp_path, "alice", "up"):
                pass
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_holder_is_never_read_by_halves(tmp_path: Path) -> None:
    with hold_stack(tmp_path, "alice", "up") as lock:
        ids = set()
        for pid in range(100):
            lock.engine_started(os.getpid() if pid % 2 else 0)
            holder = current_holder(tmp_path, "alice")
            assert holder is not None
            ids.add(holder.id)
        assert ids == {lock.holder.id}


def test_an_engine_that_a_dead_holder_left_stays_known_until_it_is_replaced(tmp_path: Path) -> None:
    for _ in range(3):  # each dies before it has ended the first one's engine
        with pytest.raises(RuntimeError), hold_stack(tmp_path, "alice", "up") as lock:
            if lock.previous is None:
                lock.engine_started(os.getpid())
            raise RuntimeError("killed")
    with hold_stack(tmp_path, "alice", "up") as lock:
        assert lock.previous is not None
        assert lock.previous.engine_pid == os.getpid()
        assert lock.previous.engine_alive()


def test_who_waits_for_a_slot_can_give_up(tmp_path: Path) -> None:
    def give_up() -> None:
        raise InterruptedError

    with (
        hold_slot(tmp_path, 1, 0),
        pytest.raises(InterruptedError),
        hold_slot(tmp_path, 1, 60, give_up),
    ):
        pass
