"""Lists: newest first, a page at a time."""

from collections.abc import Sequence

from flask import request

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.errors import ApiError, invalid, no_such
from sandbox.clouds.stripe.forms import Listing


def page(items: Sequence[Document], asked: Listing) -> Document:
    """The page of `items` that is asked for; an unknown cursor is an ApiError."""
    chosen = [item for item in items if asked.created.hold(item["created"])]
    if asked.starting_after and asked.ending_before:
        raise invalid(
            "You may only specify one of these parameters: starting_after, ending_before.",
            "starting_after",
        )
    if asked.ending_before:
        before = chosen[: _place(chosen, asked.ending_before, "ending_before")]
        return whole(before[-asked.limit :], has_more=len(before) > asked.limit)
    if asked.starting_after:
        chosen = chosen[_place(chosen, asked.starting_after, "starting_after") + 1 :]
    return whole(chosen[: asked.limit], has_more=len(chosen) > asked.limit)


def whole(items: Sequence[Document], *, has_more: bool = False, url: str | None = None) -> Document:
    """A list object of these items; `url` is the request's when none is given."""
    path = url if url is not None else request.path[request.path.index("/v1/") :]
    return {"object": "list", "data": list(items), "has_more": has_more, "url": path}


def _place(items: Sequence[Document], id_: str, param: str) -> int:
    for place, item in enumerate(items):
        if item["id"] == id_:
            return place
    raise _unknown(items, id_, param)


def _unknown(items: Sequence[Document], id_: str, param: str) -> ApiError:
    return no_such(items[0]["object"] if items else "object", id_, param)
