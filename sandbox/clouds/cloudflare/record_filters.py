"""Which records a list request asks for, and in which order.

The query's dotted names (`name.contains=…`) are the vendor's; a plain name means `.exact`.
"""

from collections.abc import Callable, Sequence

from werkzeug.datastructures import MultiDict

from sandbox.clouds.cloudflare.envelope import refuse
from sandbox.clouds.store import Document

Test = Callable[[Document], bool]

COMPARE: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda value, wanted: value == wanted,
    "contains": lambda value, wanted: wanted in value,
    "startswith": lambda value, wanted: value.startswith(wanted),
    "endswith": lambda value, wanted: value.endswith(wanted),
}
TEXT_FIELDS = ("name", "content", "comment")
ORDERS = ("type", "name", "content", "ttl", "proxied")


def select(records: Sequence[Document], query: MultiDict[str, str]) -> list[Document]:
    """The records that `query` asks for. Text is compared without regard to case."""
    tests = [test for name, value in query.items() for test in _tests(name, value)]
    tags = [test for name, value in query.items() for test in _tag_tests(name, value)]
    if tags:
        tests.append(_combine(tags, query.get("tag_match", "all")))
    wanted = _combine(tests, query.get("match", "all"))
    search = query.get("search", "").lower()
    found = [record for record in records if wanted(record) and search in _haystack(record)]
    order = query.get("order")
    if order is None:
        return found
    if order not in ORDERS:
        raise refuse(400, 1003, f"order must be one of {', '.join(ORDERS)}.")
    return sorted(found, key=lambda record: record[order], reverse=query.get("direction") == "desc")


def _combine(tests: list[Test], match: str) -> Test:
    if match not in ("all", "any"):
        raise refuse(400, 1003, "match must be all or any.")
    if match == "any" and tests:
        return lambda record: any(test(record) for test in tests)
    return lambda record: all(test(record) for test in tests)


def _tests(name: str, value: str) -> list[Test]:
    if name == "type":
        return [lambda record: bool(record["type"] == value)]
    if name == "proxied":
        return [lambda record: record["proxied"] == (value.lower() in ("true", "1"))]
    field, _, operator = name.partition(".")
    if field not in TEXT_FIELDS:
        return []
    if field == "comment" and operator in ("present", "absent"):
        return [lambda record: bool(record["comment"]) == (operator == "present")]
    compare = COMPARE.get(operator or "exact")
    if compare is None:
        raise refuse(400, 1003, f"Unknown filter {name}.")
    return [lambda record: compare((record[field] or "").lower(), value.lower())]


def _tag_tests(name: str, value: str) -> list[Test]:
    field, _, operator = name.partition(".")
    if field != "tag":
        return []
    if operator in ("present", "absent"):
        present = operator == "present"
        return [lambda record: (value.lower() in dict(_pairs(record))) == present]
    compare = COMPARE.get(operator or "exact")
    if compare is None:
        raise refuse(400, 1003, f"Unknown filter {name}.")
    key, _, wanted = value.lower().partition(":")
    return [
        lambda record: any(
            tag == key and compare(tag_value, wanted) for tag, tag_value in _pairs(record)
        )
    ]


def _pairs(record: Document) -> list[tuple[str, str]]:
    split = (tag.lower().partition(":") for tag in record["tags"])
    return [(key, value) for key, _, value in split]


def _haystack(record: Document) -> str:
    values = (record["name"], record["content"], record["comment"] or "", *record["tags"])
    return "\n".join(values).lower()
