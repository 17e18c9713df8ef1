"""Several stacks at once, one operation per stack, a bounded number per machine, and cancelling."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from stacks.errors import Busy, Cancelled
from stacks.operations import Result, Stacks
from tests.stacks.outside import Outside, address, until
from tests.stacks.workplace import Workplace, plain_pulumi

pytestmark = pytest.mark.engine

SLUGS = [f"user-{letter}" for letter in "abcdefgh"]


@contextmanager
def in_threads() -> Iterator[Callable[..., "Future[Result]"]]:
    """Run calls in threads; the block ends with them."""
    with ThreadPoolExecutor(len(SLUGS)) as pool:
        yield pool.submit


def at_once(call: Callable[[str], object], slugs: list[str]) -> list[object]:
    """`call` for every slug in a thread of its own, all begun together."""
    barrier = threading.Barrier(len(slugs))

    def begin(slug: str) -> object:
        barrier.wait()
        return call(slug)

    with ThreadPoolExecutor(len(slugs)) as pool:
        return list(pool.map(begin, slugs))


def check_each_saw_only_its_own(stacks: Stacks, outside: Outside) -> None:
    assert len(outside.servers()) == len(outside.records()) == len(SLUGS)
    assert len({address(s) for s in outside.servers()}) == len(SLUGS)
    for slug in SLUGS:
        server, record = outside.server(slug), outside.record(slug)
        assert (server.name, server.labels) == (slug, {"managed-by": "clawdet", "instance": slug})
        assert record.content == address(server)
        assert record.comment == f"clawdet instance {slug}"
        assert len(outside.certificates(slug)) == 1
        outputs = stacks.outputs(slug)
        assert (outputs["slug"], outputs["hostname"]) == (slug, f"{slug}.{outside.domain}")
        assert outputs["serverId"] == str(server.id)


def test_eight_stacks_at_once_see_each_only_their_own_configuration(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.stacks(clawdet_max_operations=8)
    at_once(place.initialised, SLUGS)
    tokens = {stacks.secrets(slug).gateway_token for slug in SLUGS[:2]}
    assert len(tokens) == 2
    results = at_once(stacks.up, SLUGS)
    assert [r.stack for r in results if isinstance(r, Result)] == SLUGS
    check_each_saw_only_its_own(stacks, outside)


def test_eight_stacks_at_once_whose_engines_start_their_own_plugins(
    place: Workplace, own_plugins: Workplace, outside: Outside
) -> None:
    stacks = place.stacks(clawdet_max_operations=8)
    at_once(place.initialised, SLUGS)
    at_once(own_plugins.stacks(clawdet_max_operations=8).up, SLUGS)
    check_each_saw_only_its_own(stacks, outside)


def test_a_second_operation_is_refused_naming_the_first_or_waits_for_it(
    place: Workplace, outside: Outside
) -> None:
    stacks, patient = place.initialised("alice"), place.stacks(wait_s=60)
    outside.slow_actions(5)
    with in_threads() as run:
        first = run(stacks.up, "alice")
        until(lambda: place.engine_of("alice"), "the engine")
        for refused in (stacks.preview, place.stacks().destroy):
            with pytest.raises(Busy, match="alice is busy: up, process ") as stop:
                refused("alice")
            assert "cancel alice" in stop.value.remedy
        second = run(patient.up, "alice")
        assert first.result().changed
        assert not second.result().changed
    assert len(outside.servers()) == 1


def test_operations_beyond_the_machine_s_slots_queue_and_can_be_cancelled_there(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.stacks(clawdet_max_operations=2)
    slugs = ["alice", "bob", "carol"]
    place.initialised(*slugs)
    outside.slow_actions(5)
    with in_threads() as run:
        running = [run(stacks.up, slug) for slug in slugs[:2]]
        for slug in slugs[:2]:
            until(lambda slug=slug: place.engine_of(slug), f"the engine of {slug}")  # type: ignore[misc]
        queued = run(stacks.up, "carol")
        until(lambda: stacks.holder("carol"), "carol's turn to wait")
        assert place.engine_of("carol") is None
        with run_cancel(stacks, "carol") as cancelled:
            with pytest.raises(Cancelled):
                queued.result(timeout=120)
            assert place.engine_of("carol") is None
            assert all(future.result().changed for future in running)
        assert cancelled
    outside.slow_actions(0)
    assert stacks.up("carol").changed
    assert len(outside.servers()) == 3


@contextmanager
def run_cancel(stacks: Stacks, slug: str) -> Iterator[list[str]]:
    """Cancel in a thread; what it said is in the list after the block."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(stacks.cancel(slug)))
    thread.start()
    yield said
    thread.join(60)


def check_clean(place: Workplace, stacks: Stacks, outside: Outside) -> None:
    """Nothing runs, nobody holds the stack, nothing is pending, and the next `up` ends well."""
    assert stacks.holder("alice") is None
    assert place.engine_of("alice") is None
    assert not place.state("alice").get("pending_operations")
    assert not place.backend_locks("alice")
    outside.slow_actions(0)
    stacks.up("alice")
    assert len(outside.servers()) == len(outside.records()) == len(outside.certificates()) == 1


def test_cancel_from_another_thread_leaves_a_clean_stack(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    outside.slow_actions(6)
    with in_threads() as run:
        doomed = run(stacks.up, "alice")
        until(outside.servers, "the server")
        assert "cancelled: up, process " in stacks.cancel("alice")
        with pytest.raises(Cancelled):
            doomed.result()
    check_clean(place, stacks, outside)


def test_cancel_from_another_process_leaves_a_clean_stack(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    outside.slow_actions(6)
    with in_threads() as run:
        doomed = run(stacks.up, "alice")
        until(outside.servers, "the server")
        cancel = place.run("cancel", "alice")
        assert (cancel.returncode, cancel.stderr) == (0, "")
        assert "cancelled: up, process " in cancel.stdout
        with pytest.raises(Cancelled):
            doomed.result()
    check_clean(place, stacks, outside)


def test_cancel_of_an_idle_stack_changes_nothing(place: Workplace, outside: Outside) -> None:
    stacks = place.made("alice")
    before = [(r["urn"], r.get("id")) for r in place.state("alice")["resources"]]
    assert "nothing was running" in stacks.cancel("alice")
    assert [(r["urn"], r.get("id")) for r in place.state("alice")["resources"]] == before
    assert not stacks.up("alice").changed


def test_cancel_spares_a_plain_pulumi_that_runs_on_the_stack(
    place: Workplace, outside: Outside
) -> None:
    stacks = place.initialised("alice")
    outside.slow_actions(5)
    with plain_pulumi(place, "up", "--yes", "--skip-preview", "-s", "alice") as operator:
        until(outside.servers, "the server")
        with pytest.raises(Busy, match=f"locked by another engine: process {operator.pid} on"):
            stacks.cancel("alice")
        with pytest.raises(Busy, match=f"process {operator.pid}"):
            stacks.up("alice")
        assert operator.wait(60) == 0
    assert not stacks.up("alice").changed
