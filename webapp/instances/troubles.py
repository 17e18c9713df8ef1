"""What a stack's errors mean to the person who waits, and whether to try again by ourselves."""

import re
from dataclasses import dataclass
from datetime import timedelta

from stacks import errors

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=30)
BUSY_PAUSE = timedelta(seconds=20)
CHECKS = 3
"""How often a check from outside may fail before somebody must look."""

# What says that a cloud, or the way there, is in trouble, and that the same again may work.
PASSING = re.compile(
    r"try again later|can't be reached|takes too long|tim(?:ed|e-?) ?out|no answer|still busy"
    r"|connection (?:refused|reset)|rate.?limit|\b(?:429|50[0234])\b|ended by SIG"
    # Hetzner's codes (docs.hetzner.cloud, "Errors"); its clients tell no status.
    r"|\((?:server_error|service_error|maintenance|timeout|unavailable)\)",
    re.IGNORECASE,
)

OPERATOR = "We have been told, and look at it. You need do nothing."
AUTOMATIC = "We try again by ourselves. You need do nothing."


@dataclass(frozen=True)
class Trouble:
    """`what` happened and what to do (`remedy`), in words for the customer. `retry`: whether the
    next sweep that is due tries again."""

    what: str
    remedy: str
    retry: bool = False


def explain(error: errors.StackError, failures: int) -> Trouble:
    """What an error means. `failures`: how many there were in a row, this one counted."""
    if isinstance(error, errors.NoCapacity):
        what = "Our data centres have no free server of this kind at the moment."
        return Trouble(what, AUTOMATIC, retry=True)
    if isinstance(error, errors.CheckFailed):
        what = "The server is there, but did not answer as it should when we checked it."
        again = failures < CHECKS
        return Trouble(what, AUTOMATIC if again else "Try again, or ask us for help.", again)
    if isinstance(error, errors.NeedsApproval):
        return Trouble("The server needs a change that we only make by hand.", OPERATOR)
    if isinstance(error, errors.Cancelled):
        return Trouble("This was stopped by an operator.", "Try again whenever you like.")
    if isinstance(error, errors.Refused | errors.UsageError | errors.UnknownStack):
        return Trouble("Something on our side is not set up right.", OPERATOR)
    if _passes(error):
        return Trouble("One of the companies we build on is in trouble.", AUTOMATIC, retry=True)
    return Trouble("This step failed.", "Try again; if it fails once more, ask us for help.")


def pause(failures: int) -> timedelta:
    """How long until the next try, after so many failures in a row: longer each time."""
    doublings: int = 2 ** min(failures - 1, 10)
    return min(LONGEST_PAUSE, FIRST_PAUSE * doublings)


def _passes(error: errors.StackError) -> bool:
    words = [str(error), error.remedy]
    if isinstance(error, errors.OperationFailed):
        words.append(error.log)
    return any(PASSING.search(text) for text in words)
