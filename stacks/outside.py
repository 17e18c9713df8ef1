"""The check from outside: what a customer's browser and a stranger would meet at the address."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from stacks.errors import CheckFailed

TIMEOUT_S = 20.0
CHAT_TIMEOUT_S = 90.0  # a model may think
WRONG_TOKEN = "0" * 64


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: `status`, `body` as text."""

    status: int
    body: str


@dataclass(frozen=True)
class Check:
    """One thing that held: `what` in words, `seconds` it took."""

    what: str
    seconds: float


def check_instance(url: str, slug: str, token: str, timeout_s: float = 60.0) -> list[Check]:
    """Landing page, control UI, token accepted, wrong token refused; all through the public URL.

    Tried again until `timeout_s` is over (a record takes a moment to be seen at the edge); then
    CheckFailed says which one did not hold and what was answered instead.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("landing page", lambda: _landing(url, slug)),
        ("control UI at /gateway/", lambda: _control_ui(url)),
        ("gateway accepts the token", lambda: _token(url, token, refused=False)),
        ("gateway refuses a wrong token", lambda: _token(url, WRONG_TOKEN, refused=True)),
    ]
    deadline = time.monotonic() + timeout_s
    return [_until(what, check, deadline) for what, check in checks]


def chat(url: str, token: str, text: str) -> str:
    """One turn with the assistant through its gateway; what it answered. CheckFailed otherwise."""
    answer = _completion(url, token, [{"role": "user", "content": text}])
    if answer.status != 200:
        raise CheckFailed(f"chat: {url} answered {answer.status}: {answer.body[:200]}")
    try:
        return str(json.loads(answer.body)["choices"][0]["message"]["content"])
    except (ValueError, LookupError) as error:
        raise CheckFailed(f"chat: no answer in {answer.body[:200]!r}") from error


def request(
    url: str,
    method: str = "GET",
    body: str | None = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """One HTTP request, redirects not followed. OSError if nobody answers."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    # Names under "localhost" are loopback by RFC 6761, whatever this machine's resolver thinks.
    address = "127.0.0.1" if host.endswith(".localhost") else host
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            address, parts.port, timeout=timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, parts.port, timeout=timeout_s)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, path, body, {"Host": parts.netloc, **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url}: {error!r}") from error
    finally:
        connection.close()


def _until(what: str, check: Callable[[], str], deadline: float) -> Check:
    began = time.monotonic()
    while True:
        try:
            problem = check()
        except OSError as error:
            problem = f"no answer ({error})"
        if not problem:
            return Check(what, time.monotonic() - began)
        if time.monotonic() > deadline:
            raise CheckFailed(
                f"{what}: {problem}",
                "see the server's log: journalctl -u openclaw-gateway -u caddy",
            )
        time.sleep(0.3)


def _landing(url: str, slug: str) -> str:
    answer = request(f"{url}/")
    if answer.status == 200 and slug in answer.body:
        return ""
    return f"{url}/ answered {answer.status}, not {slug}'s page"


def _control_ui(url: str) -> str:
    answer = request(f"{url}/gateway/")
    if answer.status == 200 and "openclaw" in answer.body.lower():
        return ""
    return f"{url}/gateway/ answered {answer.status}, not OpenClaw's control UI"


def _token(url: str, token: str, refused: bool) -> str:
    # No messages: an accepted token gets a complaint about them, without asking the model.
    status = _completion(url, token, []).status
    if status in (502, 503, 504) or status >= 520:
        return f"the gateway is not there yet ({status})"
    if refused:
        return "" if status == 401 else f"a wrong token was answered {status}, not 401"
    return "" if status not in (401, 403, 404) else f"the right token was answered {status}"


def _completion(url: str, token: str, messages: list[dict[str, str]]) -> Answer:
    return request(
        f"{url}/v1/chat/completions",
        "POST",
        json.dumps({"model": "openclaw", "messages": messages}),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        CHAT_TIMEOUT_S,
    )
