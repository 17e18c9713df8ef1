"""The engine's and the machine's failures, turned into ours."""

import errno
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pulumi.automation import errors as sdk

from stacks.errors import (
    AlreadyThere,
    NoCapacity,
    OperationFailed,
    Refused,
    StackError,
    UnknownStack,
    UsageError,
)
from stacks.events import Recorder

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def unknown(stack: str) -> UnknownStack:
    """There is no such stack."""
    return UnknownStack(f"no stack {stack!r}", f"create it: python -m stacks init {stack}")


def translate(error: sdk.CommandError, stack: str, recorder: Recorder | None = None) -> StackError:
    """The StackError that says what `error` means; the engine's own words are kept as its log."""
    recorder = recorder or Recorder()
    out, _, err = str(error).partition("\n stderr:")
    # A plain command tells of no events: its errors stand in its output.
    said = [*(recorder.errors or re.findall(r"^ +error: .*", out, re.MULTILINE)), err]
    known = _by_words("\n".join(said), stack)
    if known is not None:
        return known
    step = recorder.failed[0] if recorder.failed else ""
    where = f"{step}: " if step else ""
    return OperationFailed(
        f"{where}{_first_line(said) or _without_words(error)}",
        f"fix the cause, then `python -m stacks up {stack}` goes on from there, "
        f"or `python -m stacks destroy {stack}` removes it",
        step=step,
        log="\n".join([*recorder.errors, str(error)]),
    )


@contextmanager
def of_this_machine() -> Iterator[None]:
    """A full disk, a folder that can't be written and the like become an OperationFailed."""
    try:
        yield
    except BrokenPipeError:  # whoever read our output left
        raise
    except OSError as error:
        raise _of_the_system(error) from error


def _of_the_system(error: OSError) -> StackError:
    where = str(error.filename or "")
    if error.errno in DISK_FULL:
        return _disk_full("", where)
    return OperationFailed(
        f"can't use {where}: {error.strerror}" if where else str(error),
        "look at its owner and mode; CLAWDET_PROJECT and PULUMI_BACKEND_URL say where things are",
    )


def _disk_full(_stack: str, where: str = "") -> StackError:
    return OperationFailed(
        f"the disk is full: {where}" if where else "the disk is full",
        "free some space, then run the same command again",
    )


def _no_capacity(_stack: str, line: str) -> StackError:
    return NoCapacity(
        f"Hetzner has no such server left there: {line}",
        "try again later, or add locations to CLAWDET_LOCATIONS",
    )


def _exists(stack: str, _line: str) -> StackError:
    return AlreadyThere(
        f"stack {stack!r} exists", f"renew its settings: python -m stacks configure {stack}"
    )


def _wrong_passphrase(stack: str, _line: str) -> StackError:
    return UsageError(
        f"PULUMI_CONFIG_PASSPHRASE is not the one that {stack} was made with",
        "set the right one; without it the stack's secrets can't be read",
    )


def _refused_by(cloud: str, variable: str) -> Callable[[str, str], StackError]:
    return lambda stack, _line: Refused(
        f"{cloud} refused the token of {stack}",
        f"set {variable} to a valid one, then `python -m stacks configure {stack}`",
    )


def _malformed_token(stack: str, line: str) -> StackError:
    return UsageError(
        f"a token of {stack} is malformed: {line}",
        f"set the right one, then `python -m stacks configure {stack}`",
    )


def _holds_resources(stack: str, _line: str) -> StackError:
    return UsageError(
        f"{stack} still holds resources",
        f"remove them first: python -m stacks destroy {stack} --yes {stack}",
    )


def _server_name_taken(stack: str, _line: str) -> StackError:
    return OperationFailed(
        f"there is a server named {stack} at Hetzner that is not ours",
        "rename or delete it in Hetzner's console, or choose another name for the stack",
        step="server",
    )


def _still_busy(stack: str, _line: str) -> StackError:
    return OperationFailed(
        f"Hetzner is still busy with the server of {stack}",
        "wait a minute, then run the same command again",
        step="server",
    )


def _half_written(stack: str, line: str) -> StackError:
    return OperationFailed(
        f"the state of {stack} can't be read: {line}",
        f"if an engine was killed while it wrote: python -m stacks cancel {stack}",
    )


def _record_taken(stack: str, line: str) -> StackError:
    return OperationFailed(
        f"there is a DNS record for {stack} that is not ours: {line}",
        "delete it in Cloudflare's dashboard, or choose another name for the stack",
        step="record",
    )


def _unusable_backend(_stack: str, line: str) -> StackError:
    return UsageError(
        f"the state backend can't be used: {line}",
        "look at PULUMI_BACKEND_URL; see `stacks doctor`",
    )


def _unfinished_init(stack: str, _line: str) -> StackError:
    return UsageError(
        f"{stack} has no complete configuration", f"run `python -m stacks init {stack}` again"
    )


COMMAND_ENDED = re.compile(r"(Process exited with|exit) status \d+: running ")

# What the engine, the providers and the vendors say, and what it means. The first that fits.
MEANINGS: tuple[tuple[str, Callable[[str, str], StackError]], ...] = (
    # Hetzner's codes for a location or type that is sold out (docs.hetzner.cloud, "Errors").
    (r"resource_unavailable|placement_error", _no_capacity),
    (r"no stack named", lambda stack, _line: unknown(stack)),
    (r"stack '\S+' already exists", _exists),
    (r"incorrect passphrase", _wrong_passphrase),
    (r"entered token is invalid|API tokens must be", _malformed_token),
    (
        r"unable to authenticate|\((unauthorized|forbidden|token_readonly)\)",
        _refused_by("Hetzner", "HETZNER_API_TOKEN"),
    ),
    (
        r"Authentication error|Invalid API Token|\b(401 unauthorized|403 forbidden)\b",
        _refused_by("Cloudflare", "CLOUDFLARE_API_TOKEN"),
    ),
    (r"server name is already used", _server_name_taken),
    (r"\((locked|conflict)\)", _still_busy),
    (r"failed to load checkpoint|unexpected end of JSON input", _half_written),
    # Cloudflare's 81053, 81054, 81057, 81058.
    (r"record with that host already exists|identical record already exists", _record_taken),
    (r"still has resources; removal rejected", _holds_resources),
    (r"no space left on device|disk quota exceeded", _disk_full),
    (r"PULUMI_ACCESS_TOKEN|\.pulumi/meta\.yaml|unknown backend", _unusable_backend),
    (r"permission denied|read-only file system", _unusable_backend),
    (r"clawdet:secrets' not found|missing required configuration variable", _unfinished_init),
)


def _by_words(text: str, stack: str) -> StackError | None:
    for words, meaning in MEANINGS:
        found = re.search(words, text, re.IGNORECASE)
        if found:
            return meaning(stack, _line_of(text, found.start()))
    return None


def _line_of(text: str, at: int) -> str:
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return _plain(text[start : end if end >= 0 else len(text)])


def _first_line(texts: list[str]) -> str:
    """The first line that says what went wrong. A command's own words, which come after the
    status that it ended with, say more than that."""
    ended = ""
    for line in "\n".join(texts).splitlines():
        words = _plain(line)
        if COMMAND_ENDED.match(words):
            ended = ended or words
        elif words and not re.match(r"\d+ errors? occurred|update failed", words):
            return words
    return "it took longer than its limit and was ended" if "status 124:" in ended else ended


def _plain(line: str) -> str:
    return re.sub(r"^([*]|\d+\)|error:|\s)+", "", line).strip()


def _without_words(error: sdk.CommandError) -> str:
    killed = re.search(r"code: -(\d+)", str(error))
    if killed:
        return f"the engine was ended by {signal.Signals(int(killed[1])).name}"
    return "the engine failed without saying why"
