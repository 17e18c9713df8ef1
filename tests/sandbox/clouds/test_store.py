import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.clouds.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "new" / "clouds.sqlite")
    yield store
    store.close()


def test_a_document_is_what_was_put(store: Store) -> None:
    store.put("thing", 7, {"a": [1, {"b": None}], "ü": "✓"})
    assert store.get("thing", 7) == store.get("thing", "7") == {"a": [1, {"b": None}], "ü": "✓"}
    store.put("thing", 7, {})
    assert store.get("thing", 7) == {}


def test_what_is_not_there_is_none(store: Store) -> None:
    store.put("thing", 7, {})
    assert store.get("thing", 8) is None and store.get("other", 7) is None


def test_deleting_tells_whether_there_was_anything(store: Store) -> None:
    store.put("thing", 7, {})
    assert store.delete("thing", 7) is True
    assert store.delete("thing", 7) is False
    assert store.all("thing") == []


def test_documents_come_oldest_first_even_after_changes(store: Store) -> None:
    for number in (3, 1, 2):
        store.put("thing", number, {"n": number})
    store.put("thing", 3, {"n": 3, "changed": True})
    assert [document["n"] for document in store.all("thing")] == [3, 1, 2]


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        store.put("thing", 1, {})
        store.next_id("counter")
        raise RuntimeError
    assert store.all("thing") == []
    assert store.next_id("counter", first=5) == 5


def test_a_nested_transaction_ends_with_the_outermost(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        with store.transaction():
            store.put("thing", 1, {})
        raise RuntimeError
    assert store.all("thing") == []
    with store.transaction(), store.transaction():
        store.put("thing", 2, {"n": 2})
    assert store.all("thing") == [{"n": 2}]


def test_nobody_sees_half_a_transaction(store: Store) -> None:
    inside, seen = threading.Event(), []

    def look() -> None:
        inside.wait(60)
        seen.append(len(store.all("thing")))

    reader = threading.Thread(target=look)
    reader.start()
    with store.transaction():
        store.put("thing", 1, {})
        inside.set()
        reader.join(0.1)
        store.put("thing", 2, {})
    reader.join(60)
    assert seen == [2]


def test_ids_never_repeat_across_threads_and_restarts(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    ids: list[int] = []
    threads = [
        threading.Thread(target=lambda: ids.extend(store.next_id("c") for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert sorted(ids) == list(range(1000, 1400))
    again = Store(tmp_path / "s.sqlite")
    assert again.next_id("c") == 1400
    again.close()


def test_documents_survive_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.put("thing", 1, {"n": 1})
    store.close()
    again = Store(tmp_path / "s.sqlite")
    assert again.all("thing") == [{"n": 1}]
    again.close()
