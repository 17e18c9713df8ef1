"""Lists as Hetzner answers them: filtered, sorted, in pages."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from sandbox.clouds.hetzner.errors import invalid_input
from sandbox.clouds.hetzner.labels import selector
from sandbox.clouds.store import Document

DEFAULT_PER_PAGE, MAX_PER_PAGE = 25, 50
"""The vendor's figures (API reference, "Pagination")."""

SORTABLE = ("id", "name", "created")


def answer_list(
    key: str, documents: list[Document], sortable: Sequence[str] = SORTABLE
) -> Response:
    """One page of `documents` under `key`, with `meta.pagination` and a Link header."""
    documents = _sorted(documents, sortable)
    page, per_page = _number("page", 1), min(_number("per_page", DEFAULT_PER_PAGE), MAX_PER_PAGE)
    last = max(1, -(-len(documents) // per_page))
    pagination = {
        "page": page,
        "per_page": per_page,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(documents),
    }
    start = (page - 1) * per_page
    shown = documents[start : start + per_page]
    response = jsonify({key: shown, "meta": {"pagination": pagination}})
    response.headers["Link"] = _link(last)
    return response


def narrowed(documents: list[Document], *fields: str, labels: bool = True) -> list[Document]:
    """The documents that pass the request's filters: equality on `fields` (several values of one
    field mean any of them) and, with `labels`, the label selector."""
    tests: list[Callable[[Document], bool]] = []
    for field in fields:
        wanted = request.args.getlist(field)
        if wanted:
            tests.append(partial(_has_one_of, field, wanted))
    text = request.args.get("label_selector") if labels else None
    if text:
        matches = selector(text)
        tests.append(lambda d: matches(d["labels"]))
    return [d for d in documents if all(test(d) for test in tests)]


def flag(name: str) -> bool:
    """A boolean of the query, absent means false."""
    return request.args.get(name, "false").lower() in ("true", "1")


def _has_one_of(field: str, wanted: list[str], document: Document) -> bool:
    return str(document[field]) in wanted


def _sorted(documents: list[Document], sortable: Sequence[str]) -> list[Document]:
    for text in reversed(request.args.getlist("sort")):
        field, _, order = text.partition(":")
        if field not in sortable or order not in ("", "asc", "desc"):
            raise invalid_input({"sort": [f"'{text}' is not supported"]})
        documents = sorted(documents, key=_sort_key(field), reverse=order == "desc")
    return documents


def _sort_key(field: str) -> Callable[[Document], Any]:
    return lambda document: (document[field] is not None, document[field])


def _number(name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise invalid_input({name: ["must be a positive number"]})
    return int(text)


def _link(last: int) -> str:
    query = [(k, v) for k, v in request.args.items(multi=True) if k != "page"]
    return f"<{request.base_url}?{urlencode([*query, ('page', str(last))])}>; rel=last"
