"""Cloudflare by its official Python client: requests and error texts."""

from typing import Any

import httpx
from cloudflare import APIConnectionError, APIStatusError, Cloudflare

from sandbox.plugins.errors import PluginError
from sandbox.plugins.http import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    Failed,
    is_loopback,
    retrying,
)
from sandbox.plugins.resource import Operation

Json = dict[str, Any]

NOT_FOUND = 404
TOO_MANY = 429
GATEWAY = (502, 504)


class CloudError(PluginError):
    """An error answer."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class CloudflareApi:
    """An account's API. Safe to use from several threads."""

    def __init__(self, token: str, base_url: str) -> None:
        self._client = Cloudflare(
            api_token=token,
            base_url=base_url,
            # The client would repeat a POST whose answer was lost: retries are ours.
            max_retries=0,
            http_client=httpx.Client(
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                # Neither a proxy nor a .netrc of the environment has a say about this machine.
                trust_env=not is_loopback(base_url),
            ),
        )

    def send(
        self,
        operation: Operation["CloudflareApi"],
        method: str,
        path: str,
        body: Json | None = None,
    ) -> Json:
        """The `result` of one request. Raises CloudError, or PluginError without an answer."""
        try:
            answer = retrying(operation, method, lambda: self._call(method, path, body), _judge)
        except APIStatusError as error:
            raise CloudError(_text(error), error.status_code) from error
        except APIConnectionError as error:
            cause = error.__cause__ or error
            raise PluginError(f"{method} {path}: no answer from Cloudflare: {cause}") from error
        result: Json = answer.get("result") or {}
        return result

    def find(self, operation: Operation["CloudflareApi"], path: str) -> Json | None:
        """GET one thing; None when there is no such thing."""
        try:
            return self.send(operation, "GET", path)
        except CloudError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def delete(self, operation: Operation["CloudflareApi"], path: str) -> None:
        """DELETE; being gone already is fine."""
        try:
            self.send(operation, "DELETE", path)
        except CloudError as error:
            if error.status != NOT_FOUND:
                raise

    def _call(self, method: str, path: str, body: Json | None) -> Json:
        # The client's generic verbs: the typed resources take half a second more to import, and
        # would not send the body in the official plugin's shape.
        def send() -> httpx.Response:
            if method == "GET":
                return self._client.get(path, cast_to=httpx.Response)
            if method == "DELETE":
                return self._client.delete(path, cast_to=httpx.Response)
            write = self._client.post if method == "POST" else self._client.put
            return write(path, cast_to=httpx.Response, body=body)

        answer: Json = send().json()
        return answer


def _judge(error: Exception) -> Failed:
    if isinstance(error, APIStatusError):
        if error.status_code == TOO_MANY:
            return Failed.LATER
        return Failed.UNCLEAR if error.status_code in GATEWAY else Failed.REFUSED
    return Failed.UNCLEAR if isinstance(error, APIConnectionError) else Failed.REFUSED


def _text(error: APIStatusError) -> str:
    """The text as the official plugin's client writes it."""
    response = error.response
    request = response.request
    return (
        f'failed to make http request: {request.method} "{request.url}":'
        f" {response.status_code} {response.reason_phrase} {response.text}"
    )
