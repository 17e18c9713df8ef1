"""The engine's failures, turned into ours."""

import re

from pulumi.automation import errors as sdk

from stacks.errors import (
    NoCapacity,
    OperationFailed,
    Refused,
    StackError,
    UnknownStack,
    UsageError,
)
from stacks.events import Recorder

LOCK_OWNER = re.compile(r"created by \S+@(?P<host>\S+) \(pid (?P<pid>\d+)\)")

# Hetzner's error codes for a location or type that is sold out (docs.hetzner.cloud, "Errors").
OUT_OF_STOCK = ("resource_unavailable", "placement_error")


def lock_owner(error: sdk.ConcurrentUpdateError) -> tuple[str, int] | None:
    """(host, process id) of the CLI that wrote the backend's lock, if the error names it."""
    found = LOCK_OWNER.search(str(error))
    return (found["host"], int(found["pid"])) if found else None


def translate(error: sdk.CommandError, recorder: Recorder, stack: str) -> StackError:
    """The StackError that says what `error` means; the engine's own words are kept as its log."""
    text = "\n".join([*recorder.errors, str(error)])
    known = _by_words(text, stack)
    if known is not None:
        return known
    message = _first_line([*recorder.errors, str(error).partition("stderr:")[2]])
    step = recorder.failed[0] if recorder.failed else ""
    where = f"{step}: " if step else ""
    return OperationFailed(
        f"{where}{message}",
        f"fix the cause, then `python -m stacks up {stack}` goes on from there, "
        f"or `python -m stacks destroy {stack}` removes it",
        step=step,
        log=text,
    )


def _by_words(text: str, stack: str) -> StackError | None:
    if any(code in text for code in OUT_OF_STOCK):
        return NoCapacity("the location ran out of stock", "another location is tried")
    if "no stack named" in text:
        return UnknownStack(f"no stack {stack!r}", f"create it: python -m stacks init {stack}")
    if "incorrect passphrase" in text or ("decrypt" in text and "passphrase" in text):
        return UsageError(
            f"PULUMI_CONFIG_PASSPHRASE is not the one that {stack} was made with",
            "set the right one; without it the stack's secrets can't be read",
        )
    if re.search(
        r"\b401\b|unauthorized|unable to authenticate|Authentication error|"
        r"Invalid API Token",
        text,
        re.IGNORECASE,
    ):
        return Refused(
            f"a cloud refused the credentials of {stack}: {_refusal(text)}",
            f"set the right tokens, then `python -m stacks configure {stack}`",
        )
    if "no space left on device" in text:
        return OperationFailed(
            "the disk is full", "free some space, then run the same command again", log=text
        )
    return None


def _refusal(text: str) -> str:
    lines = [line for line in text.splitlines() if re.search(r"401|uthori|uthenti|Token", line)]
    return _first_line(lines)


def _first_line(texts: list[str]) -> str:
    for text in texts:
        for line in text.splitlines():
            words = line.strip().lstrip("* ").removeprefix("error: ").strip()
            if words and not words.startswith(("code:", "stdout:", "1 error occurred")):
                return words
    return "the engine failed without saying why"

