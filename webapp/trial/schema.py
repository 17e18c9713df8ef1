"""The trial chat's JSON."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class TrialQuestion(_Body):
    """A visitor's message, 1 to 2,000 characters."""

    message: str


class TrialAnswer(_Body):
    """The assistant's answer, and how many free messages are left after it."""

    reply: str
    remaining: int


class TrialDelta(_Body):
    """A piece of an answer, as the event `delta` of a stream."""

    text: str


class TrialDone(_Body):
    """The end of a stream, as the event `done`."""

    remaining: int


class TrialError(_Body):
    """An answer that broke off, as the event `error`; the message was not counted."""

    title: str
    detail: str
    remaining: int
