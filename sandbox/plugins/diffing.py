"""What differs between two states of a resource, property by property."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sandbox.plugins.values import UNKNOWN, Asset, contains_unknown


class Change(Enum):
    """How a property changes; the value is the protocol's PropertyDiff.Kind without replacing."""

    ADD = 0
    DELETE = 2
    UPDATE = 4


@dataclass(frozen=True)
class Difference:
    """One changed property path, and whether it asks for a new resource."""

    change: Change
    replace: bool = False


@dataclass(frozen=True)
class Diff:
    """Every changed path (`labels.release`, `rules[0].port`); empty when nothing changes."""

    paths: Mapping[str, Difference] = field(default_factory=dict)
    delete_before_replace: bool = False

    @property
    def properties(self) -> list[str]:
        """The top-level properties that change."""
        return list(dict.fromkeys(_top(path) for path in self.paths))

    @property
    def replaces(self) -> list[str]:
        """The top-level properties that ask for a new resource."""
        found = (_top(path) for path, difference in self.paths.items() if difference.replace)
        return list(dict.fromkeys(found))

    def without(self, ignored: Iterable[str]) -> "Diff":
        """The same without what lies at or under the ignored paths."""
        hidden = tuple(ignored)
        paths = {
            path: found
            for path, found in self.paths.items()
            if not any(
                path == start or path.startswith((f"{start}.", f"{start}[")) for start in hidden
            )
        }
        return Diff(paths, self.delete_before_replace)


def compare(path: str, old: Any, new: Any) -> dict[str, Change]:
    """The changes that lead from `old` to `new`; None and empty collections mean unset."""
    if _empty(old) and _empty(new):
        return {}
    if isinstance(new, dict) and (isinstance(old, dict) or _empty(old)):
        return _compare_maps(path, old or {}, new)
    if _empty(new) and isinstance(old, dict):
        return _compare_maps(path, old, {})
    if _empty(old):
        return {path: Change.ADD}
    if _empty(new):
        return {path: Change.DELETE}
    if isinstance(old, list) and isinstance(new, list) and not contains_unknown(new):
        return _compare_lists(path, old, new)
    return {} if _same(old, new) else {path: Change.UPDATE}


def _compare_maps(path: str, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Change]:
    found: dict[str, Change] = {}
    for key in sorted(old.keys() | new.keys()):
        found |= compare(path + _step(key), old.get(key), new.get(key))
    return found


def _compare_lists(path: str, old: list[Any], new: list[Any]) -> dict[str, Change]:
    found: dict[str, Change] = {}
    for at in range(max(len(old), len(new))):
        before = old[at] if at < len(old) else None
        after = new[at] if at < len(new) else None
        found |= compare(f"{path}[{at}]", before, after)
    return found


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, Asset) and isinstance(new, Asset) and old.hash and new.hash:
        # As the official plugins: the content counts, not the path it was read from.
        return old.is_archive == new.is_archive and old.hash == new.hash
    return new is not UNKNOWN and bool(old == new)


def _empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _step(key: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key):
        return f".{key}"
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


def _top(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]
