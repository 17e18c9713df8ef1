"""A conversation as the model is given it, and what an answer took; without the model's SDK."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Turn:
    """One message of a conversation; the first is the user's, and they alternate."""

    role: Literal["user", "assistant"]
    text: str


@dataclass
class Usage:
    """Tokens, as the model counts them: what it has told so far."""

    input_tokens: int = 0
    output_tokens: int = 0
