"""Hetzner Cloud by its official Python client: requests, waiting for actions, error texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hcloud import APIException, Client
from requests import RequestException

from sandbox.plugins.errors import CancelledError, PluginError
from sandbox.plugins.http import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    Failed,
    is_loopback,
    retrying,
)
from sandbox.plugins.resource import Operation

Json = dict[str, Any]


class CloudError(PluginError):
    """An error answer; `code` is Hetzner's, or the HTTP status as text."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class Hetzner:
    """A project's API. Safe to use from several threads."""

    def __init__(self, token: str, endpoint: str, poll_interval_s: float, version: str) -> None:
        self._client = Client(
            token=token,
            api_endpoint=endpoint,
            application_name="clawdet-standin-plugin",
            application_version=version,
            timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        )
        # The client would repeat a POST whose answer was lost, and sleeps through a cancellation;
        # it has no setting for either, so its own retries are off and ours are on.
        self._client._client._retry_max_retries = 0
        if is_loopback(endpoint):
            # Neither a proxy nor a .netrc of the environment has a say about this machine.
            self._client._client._session.trust_env = False
        self._poll_interval_s = poll_interval_s

    def send(
        self,
        operation: Operation["Hetzner"],
        method: str,
        path: str,
        body: Json | None = None,
        query: list[tuple[str, str]] | None = None,
    ) -> Json:
        """One request; the answer's JSON. Raises CloudError, or PluginError without an answer."""
        try:
            return retrying(
                operation,
                method,
                lambda: self._client.request(method, path, json=body, params=query),
                _judge,
            )
        except APIException as error:
            raise CloudError(_text(error), str(error.code)) from error
        except RequestException as error:
            raise PluginError(f"{method} {path}: no answer from Hetzner Cloud: {error}") from error

    def find(self, operation: Operation["Hetzner"], path: str, key: str) -> Json | None:
        """GET one thing, the answer's `key`; None when there is no such thing."""
        try:
            found: Json = self.send(operation, "GET", path)[key]
        except CloudError as error:
            if error.code in ("not_found", "404"):
                return None
            raise
        return found

    def find_by_name(
        self, operation: Operation["Hetzner"], path: str, key: str, query: list[tuple[str, str]]
    ) -> Json | None:
        """GET a list filtered by `query`; its first item, or None."""
        found: list[Json] = self.send(operation, "GET", path, query=query)[key]
        return found[0] if found else None

    def find_by_id_or_name(
        self, operation: Operation["Hetzner"], path: str, key: str, id_or_name: str
    ) -> Json | None:
        """As the official client: by id where it looks like one, then by name."""
        found = None
        if id_or_name.isdigit():
            found = self.find(operation, f"{path}/{id_or_name}", key)
        if found is None:
            found = self.find_by_name(operation, path, f"{key}s", [("name", id_or_name)])
        return found

    def act(self, operation: Operation["Hetzner"], path: str, body: Json | None = None) -> Json:
        """POST an action and wait until it is done; the POST's answer."""
        answer = self.send(operation, "POST", path, body)
        self.wait_for(operation, answer)
        return answer

    def delete(self, operation: Operation["Hetzner"], path: str) -> None:
        """DELETE, and wait; being gone already is fine."""
        with self.gone_is_done():
            self.wait_for(operation, self.send(operation, "DELETE", path))

    @contextmanager
    def gone_is_done(self) -> Iterator[None]:
        """What is to be deleted or detached may be gone already."""
        try:
            yield
        except CloudError as error:
            if error.code not in ("not_found", "404"):
                raise

    def wait_for(self, operation: Operation["Hetzner"], answer: Json) -> None:
        """Wait for an answer's `action`, `actions` and `next_actions`. Raises CloudError."""
        single = [answer["action"]] if answer.get("action") else []
        actions = single + (answer.get("actions") or []) + (answer.get("next_actions") or [])
        running = _unfinished(actions)
        while running:
            operation.wait(self._poll_interval_s)
            query = [("id", str(id_)) for id_ in running]
            running = _unfinished(self.send(operation, "GET", "/actions", query=query)["actions"])


def _unfinished(actions: list[Json]) -> list[int]:
    for action in actions:
        if action["status"] == "error":
            error = action.get("error") or {}
            code = error.get("code", "action_failed")
            raise CloudError(f"{error.get('message', 'action failed')} ({code})", code)
    return [action["id"] for action in actions if action["status"] == "running"]


def _judge(error: Exception) -> Failed:
    if isinstance(error, CancelledError):
        return Failed.REFUSED
    if isinstance(error, APIException):
        if error.code in ("rate_limit_exceeded", "conflict", 429):
            return Failed.LATER
        return Failed.UNCLEAR if error.code in ("timeout", 502, 504) else Failed.REFUSED
    return Failed.UNCLEAR if isinstance(error, RequestException) else Failed.REFUSED


def _text(error: APIException) -> str:
    """The text as the official Go client writes it."""
    if isinstance(error.code, int):
        return f"hcloud: server responded with status code {error.code}"
    text = f"{error.message} ({error.code})"
    fields = error.details.get("fields") if isinstance(error.details, dict) else None
    if error.code == "invalid_input" and fields:
        wrong = (f"{field['name']} => [{' '.join(field['messages'])}]" for field in fields)
        text += f": [{' '.join(wrong)}]"
    return text
