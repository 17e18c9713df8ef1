"""What the web app and the worker are given: the caller's environment, else what we make."""

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet

from sandbox.supervisor import Sandbox
from stacks.project import make_project
from stacks.settings import Settings
from webapp.settings import WebSettings

# With any of these set, somebody means the real companies.
CREDENTIALS = (
    "HETZNER_API_TOKEN",
    "CLOUDFLARE_API_TOKEN",
    "CLOUDFLARE_ZONE_ID",
    "ANTHROPIC_API_KEY",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_PRICE_ID",
    "TWITTER_CLIENT_ID",
    "TWITTER_CLIENT_SECRET",
)
KEPT = "environment.json"
OPERATOR = "operator"
"""The X handle that sees the fleet, in the sandbox."""


class HalfGiven(Exception):
    """Some credentials are set and some are not; the message names both."""


def wants_sandbox(given: Mapping[str, str]) -> bool:
    """Whether no credential is set at all. Raises HalfGiven if only some are."""
    there = [name for name in CREDENTIALS if given.get(name)]
    missing = [name for name in CREDENTIALS if not given.get(name)]
    if there and missing:
        raise HalfGiven(
            f"set: {', '.join(there)}; not set: {', '.join(missing)}. "
            "Set all of them for the real companies, or none for the sandbox."
        )
    return not there


def own(directory: Path) -> dict[str, str]:
    """Keys that are ours to make, kept in `directory`/keys.json (mode 0600)."""
    path = directory / "keys.json"
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text())
        return kept
    made = {
        "CLAWDET_SECRET_KEY": secrets.token_hex(32),
        "CLAWDET_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(24),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(made, indent=1))
    return made


def environment(directory: Path, port: int, sandbox: Sandbox | None) -> dict[str, str]:
    """For the processes. What the caller has set stands, except where the sandbox is meant."""
    found = {
        "CLAWDET_DATABASE_URL": f"sqlite:///{directory / 'clawdet.sqlite3'}",
        "CLAWDET_WEB_URL": f"http://localhost:{port}",
        "PYTHONUNBUFFERED": "1",
    }
    if sandbox:  # its stacks are nobody else's
        project = directory / "project"
        make_project(project)
        found["CLAWDET_PROJECT"] = str(project)
        found["PULUMI_BACKEND_URL"] = f"file://{project / '.clawdet' / 'state'}"
    if sandbox is None and "PULUMI_CONFIG_PASSPHRASE_FILE" in os.environ:
        found["PULUMI_CONFIG_PASSPHRASE"] = ""
    known = {name.upper() for name in (*Settings.model_fields, *WebSettings.model_fields)}
    inherited = {k: v for k, v in os.environ.items() if k.upper() not in known or sandbox is None}
    theirs = sandbox.environment() | {"CLAWDET_OPERATORS": OPERATOR} if sandbox else {}
    return own(directory) | found | inherited | theirs


def web_settings(given: Mapping[str, str]) -> WebSettings:
    """The web app's settings, as a process with that environment would read them."""
    known = {name: given.get(name.upper()) for name in WebSettings.model_fields}
    return WebSettings.model_validate({k: v for k, v in known.items() if v is not None})


def keep(directory: Path, given: Mapping[str, str]) -> None:
    """Write down what the processes are given and the shell does not have, for `exports`."""
    path = directory / KEPT
    path.touch(mode=0o600)
    path.write_text(json.dumps({k: v for k, v in given.items() if os.environ.get(k) != v}))


def exports(directory: Path) -> dict[str, str]:
    """What was kept at the last start; FileNotFoundError before the first."""
    found: dict[str, str] = json.loads((directory / KEPT).read_text())
    return found


def shed(directory: Path) -> None:
    """Take what `exports` gave to the shell we were started from out of our environment: it
    speaks of an earlier run, and its credentials are not the caller's."""
    with suppress(FileNotFoundError):
        for name, value in exports(directory).items():
            if os.environ.get(name) == value:
                del os.environ[name]
