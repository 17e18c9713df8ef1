"""A message told as server-sent events, in the order that the vendor's documentation gives."""

import json
from collections.abc import Iterator

from sandbox.clouds.anthropic.answers import Answer
from sandbox.clouds.store import Document


def events(message: Answer) -> Iterator[str]:
    """message_start, one text block told piece by piece, message_delta, message_stop."""
    start = message.body() | {"content": [], "stop_reason": None, "usage": message.usage(1)}
    yield _event("message_start", {"message": start})
    block = {"type": "text", "text": ""}
    yield _event("content_block_start", {"index": 0, "content_block": block})
    yield _event("ping", {})
    for piece in message.pieces:
        delta = {"type": "text_delta", "text": piece}
        yield _event("content_block_delta", {"index": 0, "delta": delta})
    yield _event("content_block_stop", {"index": 0})
    stop = {"stop_reason": message.stop_reason, "stop_sequence": None}
    usage = {"output_tokens": len(message.pieces)}
    yield _event("message_delta", {"delta": stop, "usage": usage})
    yield _event("message_stop", {})


def _event(name: str, fields: Document) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n"
