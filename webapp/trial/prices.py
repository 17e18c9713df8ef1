"""What the trial's models cost, for the daily budget.

US dollars per million tokens, which are micro-dollars per token, as Anthropic lists them for
prompts of up to 100,000 tokens (https://platform.claude.com/docs/en/about-claude/pricing).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from webapp.adapters.turns import Turn, Usage

TOKENS_AROUND = 16
"""Tokens that a message costs beside its text, with room to spare."""


@dataclass(frozen=True)
class Price:
    """Micro-USD per token."""

    input: float
    output: float


PRICES = {
    "claude-haiku-4-5": Price(1, 5),
    "claude-haiku-5-5": Price(0.1, 0.5),
    "claude-sonnet-4-5": Price(3, 15),
    "claude-sonnet-4-6": Price(3, 15),
    "claude-sonnet-5": Price(2, 10),
    "claude-sonnet-5-5": Price(2, 10),
    "claude-opus-4-5": Price(5, 25),
    "claude-opus-4-6": Price(5, 25),
    "claude-opus-4-7": Price(5, 25),
    "claude-opus-5": Price(5, 25),
    "claude-opus-5-5": Price(4, 20),
}
DEAREST = Price(15, 75)
"""For a model that is not listed: more than any that is."""


def price_of(model: str) -> Price:
    """By the model's name; one with a date is priced as the one without."""
    names = [name for name in PRICES if model.startswith(name)]
    return PRICES[max(names, key=len)] if names else DEAREST


def worst_case(model: str, turns: Sequence[Turn], system: str, max_tokens: int) -> int:
    """Micro-USD that an answer costs at most: a token is at least a byte of UTF-8."""
    price = price_of(model)
    texts = [system, *(turn.text for turn in turns)]
    tokens = sum(len(text.encode()) + TOKENS_AROUND for text in texts)
    return ceil(tokens * price.input + max_tokens * price.output)


def cost(model: str, usage: Usage) -> int:
    """Micro-USD that an answer has cost."""
    price = price_of(model)
    return ceil(usage.input_tokens * price.input + usage.output_tokens * price.output)
