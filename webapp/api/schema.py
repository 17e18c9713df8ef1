"""What the API says whichever feature is asked: problems, and the form of events."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Problem(BaseModel):
    """A problem document (RFC 9457). `title` says what happened, `detail` what to do about it;
    `code` is a stable word for programs, `requestId` what to name when you write to us."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str


class Event(BaseModel):
    """One of a stream's server-sent events. `data` is JSON; `id` is what to resume from."""

    event: str
    data: str
    id: str | None = None
