"""What can go wrong, in words for the person it happens to."""


class ClawdetError(Exception):
    """Base of ours. `title` says what happened, `detail` what it means and what to do.

    `status` is the HTTP status that it is answered with; `code` a stable word for programs.
    """

    status = 500
    code = "internal_error"

    def __init__(self, title: str, detail: str = "") -> None:
        super().__init__(f"{title} {detail}".strip())
        self.title = title
        self.detail = detail


class SettingsError(ClawdetError):
    """The environment lacks something or has something that does not parse."""

    code = "settings"


class Invalid(ClawdetError):
    """What was sent makes no sense."""

    status = 400
    code = "invalid_request"


class NotAllowed(ClawdetError):
    """Known, but not theirs to do."""

    status = 403
    code = "forbidden"


class NotFound(ClawdetError):
    """There is no such thing, or none that is theirs."""

    status = 404
    code = "not_found"


class Conflict(ClawdetError):
    """Possible at another time: the state it needs is not the state it is in."""

    status = 409
    code = "conflict"


class TooMany(ClawdetError):
    """An allowance or a limit is used up."""

    status = 429
    code = "too_many_requests"


class Unavailable(ClawdetError):
    """A company we depend on does not answer as it should. Trying again later may help."""

    status = 503
    code = "unavailable"
