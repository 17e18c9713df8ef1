"""What engine, plugins and vendors say, as they say it, becomes an error that says what to do."""

import pytest
from pulumi.automation import CommandResult
from pulumi.automation.errors import create_command_error

from stacks.errors import (
    AlreadyThere,
    NoCapacity,
    OperationFailed,
    Refused,
    StackError,
    UnknownStack,
    UsageError,
)
from stacks.events import Recorder, without_values
from stacks.failures import translate


def translated(stderr: str = "", events: tuple[str, ...] = (), **result: object) -> StackError:
    """The error that becomes of a CLI run for alice; `events`: its error diagnostics."""
    run = CommandResult(
        stdout=str(result.get("stdout", "")), stderr=stderr, code=int(str(result.get("code", 255)))
    )
    return translate(create_command_error(run), "alice", Recorder(errors=list(events)))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        # The official plugins' words (conformance/official-scenarios.txt and their sources).
        (
            "1 error occurred:\n\t* error during placement (resource_unavailable)\n\n",
            NoCapacity,
            "Hetzner has no such server left there",
        ),
        (
            "1 error occurred:\n\t* unable to authenticate (unauthorized)\n\n",
            Refused,
            "Hetzner refused the token of alice",
        ),
        (
            "1 error occurred:\n\t* insufficient permissions for this request (token_readonly)\n",
            Refused,
            "Hetzner refused the token of alice",
        ),
        (
            'failed to make http request: POST "https://api.cloudflare.com/client/v4/certificates":'
            ' 401 Unauthorized {"success":false,"errors":[{"code":10000,'
            '"message":"Authentication error"}]}',
            Refused,
            "Cloudflare refused the token of alice",
        ),
        (
            'failed to make http request: POST ".../dns_records": 403 Forbidden {"success":false}',
            Refused,
            "Cloudflare refused the token of alice",
        ),
        (
            "1 error occurred:\n\t* server name is already used (uniqueness_error)",
            OperationFailed,
            "there is a server named alice at Hetzner that is not ours",
        ),
        (
            '400 Bad Request {"errors":[{"code":81058,"message":"An identical record already '
            'exists."}]}',
            OperationFailed,
            "there is a DNS record for alice that is not ours",
        ),
        (
            "1 error occurred:\n\t* server is locked (locked)",
            OperationFailed,
            "Hetzner is still busy with the server of alice",
        ),
    ],
)
def test_a_provider_s_error_says_what_it_means(
    text: str, kind: type[StackError], message: str
) -> None:
    error = translated(events=(text, "update failed"))
    assert type(error) is kind
    assert str(error).startswith(message)
    assert error.remedy


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("error: no stack named 'alice' found", UnknownStack),
        ("error: stack 'organization/clawdet/alice' already exists", AlreadyThere),
        ("error: getting stack configuration: incorrect passphrase", UsageError),
        ("error: could not write checkpoint: no space left on device", OperationFailed),
        ("error: PULUMI_ACCESS_TOKEN must be set for login", UsageError),
        ("error: configuration key 'clawdet:secrets' not found for stack 'alice'", UsageError),
        ("error: failed to load checkpoint: EOF", OperationFailed),
    ],
)
def test_the_cli_s_error_says_what_it_means(stderr: str, kind: type[StackError]) -> None:
    error = translated(stderr)
    assert type(error) is kind
    assert error.remedy


def test_of_many_words_the_first_that_tell_something_are_shown_and_all_are_kept() -> None:
    error = translated(
        events=("2 errors occurred:\n\t* the image is gone\n\t* more", "update failed")
    )
    assert isinstance(error, OperationFailed)
    assert str(error) == "the image is gone"
    assert "* more" in error.log


def test_a_plain_command_s_diagnostics_are_found_in_its_output() -> None:
    stdout = (
        "Importing (alice):\nDiagnostics:\n  hcloud:index:Server (server):\n    error: it broke\n"
    )
    assert str(translated(stdout=stdout)) == "it broke"


def test_an_engine_that_was_killed_is_said_to_be() -> None:
    assert str(translated(code=-9)) == "the engine was ended by SIGKILL"
    assert str(translated()) == "the engine failed without saying why"


def test_numbers_in_an_output_are_no_error_codes() -> None:
    error = translated(events=("server 401 has no disk",), stdout="took 403 s, unauthorized")
    assert type(error) is OperationFailed
    assert str(error) == "server 401 has no disk"


def test_a_secret_that_a_provider_rejects_is_not_repeated() -> None:
    text = "resource 'hetzner': property token value {&{{hush\nhush}}} has a problem: too short"
    assert without_values(text) == "resource 'hetzner': property token has a problem: too short"
