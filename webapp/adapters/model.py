"""The model behind the trial chat: Anthropic's Messages API, streamed.

https://docs.anthropic.com/en/api/messages-streaming
"""

from collections.abc import Iterator, Sequence

import anthropic
import httpx2  # what the SDK speaks by, and what it lets through when a stream breaks
import structlog
from anthropic.types import (
    AssistantMessageParam,
    MessageParam,
    RawMessageStreamEvent,
    UserMessageParam,
)

from webapp.adapters.turns import Turn, Usage
from webapp.errors import Unavailable
from webapp.settings import WebSettings

MAX_RETRIES = 1

# The request itself is wrong (key, model, credit): trying again does not help, an operator does.
_OURS = (
    anthropic.AuthenticationError,
    anthropic.PermissionDeniedError,
    anthropic.BadRequestError,
    anthropic.NotFoundError,
    anthropic.PaymentRequiredError,
)

log = structlog.get_logger(__name__)


class Answer:
    """An answer as it is written: iterate it once for its text, then read `usage`."""

    def __init__(self, stream: anthropic.Stream[RawMessageStreamEvent]) -> None:
        self._stream = stream
        self._is_whole = False
        self.usage = Usage()

    def __iter__(self) -> Iterator[str]:
        """Pieces of text. Raises Unavailable where it breaks off."""
        try:
            for event in self._stream:
                if text := self._read(event):
                    yield text
        except (anthropic.AnthropicError, httpx2.HTTPError, ValueError) as error:
            raise _told(error) from error
        if not self._is_whole:
            log.warning("model_broke_off")
            raise _busy()

    def close(self) -> None:
        """Hang up; harmless after the end."""
        self._stream.close()

    def _read(self, event: RawMessageStreamEvent) -> str:
        if event.type == "message_start":
            self.usage.input_tokens = event.message.usage.input_tokens
        elif event.type == "message_delta":
            self.usage.output_tokens = event.usage.output_tokens
        elif event.type == "message_stop":
            self._is_whole = True
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            return event.delta.text
        return ""


class Model:
    """The model of the settings, at their endpoint."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._client = anthropic.Anthropic(
            api_key=settings.anthropic_api_key.get_secret_value(),
            base_url=settings.anthropic_base_url,
            timeout=settings.clawdet_adapter_timeout_s,
            max_retries=MAX_RETRIES,
        )

    def stream(self, turns: Sequence[Turn], system: str) -> Answer:
        """Begin an answer to the last turn. Raises Unavailable. Close it in the end."""
        try:
            stream = self._client.messages.create(
                model=self._settings.clawdet_trial_model,
                max_tokens=self._settings.clawdet_trial_max_tokens,
                system=system,
                messages=[_param(turn) for turn in turns],
                stream=True,
            )
        except (anthropic.AnthropicError, httpx2.HTTPError) as error:
            raise _told(error) from error
        return Answer(stream)


def _param(turn: Turn) -> MessageParam:
    if turn.role == "user":
        return UserMessageParam(role="user", content=turn.text)
    return AssistantMessageParam(role="assistant", content=turn.text)


def _told(error: Exception) -> Unavailable:
    status = getattr(error, "status_code", None)
    if isinstance(error, _OURS):
        log.error("model_refuses_us", error=type(error).__name__, status=status, detail=str(error))
        return Unavailable(
            "The assistant can't answer right now.",
            "The fault is ours, and we know of it. Come back in a while.",
        )
    log.warning("model_unavailable", error=type(error).__name__, status=status)
    return _busy()


def _busy() -> Unavailable:
    return Unavailable(
        "The assistant did not answer.", "Its model is busy or down. Try again in a minute."
    )
