"""The pretend model: what it answers, and what it says it used."""

import re
import secrets
from dataclasses import dataclass
from typing import Literal

from sandbox.clouds.anthropic.requests import MessagesRequest
from sandbox.clouds.store import Document


@dataclass(frozen=True)
class Answer:
    """A finished message. `pieces` are its text in the order in which it is told, one per token."""

    id: str
    model: str
    pieces: tuple[str, ...]
    stop_reason: Literal["end_turn", "max_tokens"]
    input_tokens: int

    def usage(self, output_tokens: int) -> Document:
        """As the API writes it."""
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }

    def body(self) -> Document:
        """The whole message as the API writes it."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [{"type": "text", "text": "".join(self.pieces)}],
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": self.usage(len(self.pieces)),
        }


def answer(asked: MessagesRequest) -> Answer:
    """ "You said: " and the last user text, cut after `max_tokens`. A word counts as a token."""
    pieces = _split(f"You said: {asked.last_user_text()}")
    return Answer(
        id=f"msg_{secrets.token_hex(12)}",
        model=asked.model,
        pieces=pieces[: asked.max_tokens],
        stop_reason="end_turn" if len(pieces) <= asked.max_tokens else "max_tokens",
        input_tokens=max(1, len(_split(asked.all_text()))),
    )


def _split(text: str) -> tuple[str, ...]:
    """Words, each with the white space before it."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))
