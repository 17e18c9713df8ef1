import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sandbox.clouds import anthropic as company
from sandbox.clouds.world import World
from tests.sandbox.clouds.live import Live

Serve = Callable[..., Live]
ASKED: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "How are you?"}],
}


@pytest.fixture
def api(serve: Serve, world: World) -> Iterator[httpx.Client]:
    """What the official SDK sends with every request."""
    live = serve({"/anthropic": company.blueprint})
    headers = {
        "x-api-key": world.credentials.anthropic_key,
        "anthropic-version": "2023-06-01",
    }
    with httpx.Client(base_url=f"{live.url}/anthropic", headers=headers) as client:
        yield client


def events(text: str) -> list[tuple[str, Any]]:
    """The server-sent events of a whole stream."""
    parts = [part.split("\n") for part in text.removesuffix("\n\n").split("\n\n")]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in parts
    ]


def test_the_answer_repeats_what_was_said(api: httpx.Client) -> None:
    answer = api.post("/v1/messages", json=ASKED)
    assert answer.status_code == 200
    message = answer.json()
    assert message["content"] == [{"type": "text", "text": "You said: How are you?"}]
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert (message["model"], message["stop_reason"]) == ("claude-sonnet-4-5", "end_turn")
    assert message["usage"]["output_tokens"] == 5
    assert message["id"].startswith("msg_")
    assert answer.headers["request-id"].startswith("req_")


def test_the_last_user_turn_counts_whatever_blocks_it_has(api: httpx.Client) -> None:
    turns = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": [{"type": "text", "text": "answer"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "18 degrees"},
                {"type": "image", "source": {"type": "base64", "data": "", "media_type": ""}},
                {"type": "text", "text": "and now?", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ]
    more = {
        "messages": turns,
        "system": [{"type": "text", "text": "You are kind."}],
        "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    answer = api.post("/v1/messages", json=ASKED | more).json()
    assert answer["content"][0]["text"] == "You said: 18 degrees\nand now?"
    assert answer["usage"]["input_tokens"] == 9


def test_an_answer_longer_than_max_tokens_is_cut(api: httpx.Client) -> None:
    message = api.post("/v1/messages", json=ASKED | {"max_tokens": 3}).json()
    assert message["content"][0]["text"] == "You said: How"
    assert message["stop_reason"] == "max_tokens"
    assert message["usage"]["output_tokens"] == 3


def test_a_stream_tells_the_same_in_the_documented_order(api: httpx.Client) -> None:
    answer = api.post("/v1/messages", json=ASKED | {"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert all(name == data["type"] for name, data in told)
    names = [name for name, _ in told]
    deltas = names.count("content_block_delta")
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    text = "".join(data["delta"]["text"] for _, data in told[3 : 3 + deltas])
    assert text == "You said: How are you?"
    start, end = told[0][1]["message"], told[-2][1]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert start["usage"]["input_tokens"] == 3
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"]["output_tokens"] == 5


@pytest.mark.parametrize(
    ("key", "message"),
    [("", "x-api-key header is required"), ("sk-ant-wrong", "invalid x-api-key")],
)
def test_without_our_key_nothing_is_answered(api: httpx.Client, key: str, message: str) -> None:
    answer = api.post("/v1/messages", json=ASKED, headers={"x-api-key": key})
    assert answer.status_code == 401
    body = answer.json()
    assert body["type"] == "error"
    assert body["error"] == {"type": "authentication_error", "message": message}
    assert body["request_id"] == answer.headers["request-id"]


def test_the_version_header_is_required(api: httpx.Client) -> None:
    del api.headers["anthropic-version"]
    answer = api.post("/v1/messages", json=ASKED)
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "type": "invalid_request_error",
        "message": "anthropic-version: header is required",
    }


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"model": 7}, "model: "),
        ({"temperature": 2}, "temperature: "),
        ({"stream": "yes"}, "stream: "),
        ({"tools": [{}]}, "tools.0.name: Field required"),
    ],
)
def test_an_invalid_request_is_told_what_is_wrong(
    api: httpx.Client, changes: dict[str, Any], start: str
) -> None:
    answer = api.post("/v1/messages", json=ASKED | changes)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(start)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(api: httpx.Client, body: bytes) -> None:
    assert api.post("/v1/messages", content=body).status_code == 400


def test_a_model_that_does_not_exist_is_not_found(api: httpx.Client) -> None:
    answer = api.post("/v1/messages", json=ASKED | {"model": "claude-9"})
    assert answer.status_code == 404
    assert answer.json()["error"] == {"type": "not_found_error", "message": "model: claude-9"}


def test_the_models_are_listed_and_found_by_alias(api: httpx.Client) -> None:
    listed = api.get("/v1/models").json()
    assert "claude-sonnet-4-6" in [model["id"] for model in listed["data"]]
    assert listed["has_more"] is False
    found = api.get("/v1/models/claude-sonnet-4-5").json()
    assert found["id"] == "claude-sonnet-4-5-20250929"
    assert api.get("/v1/models/gpt").status_code == 404


def test_an_unknown_path_is_not_found_in_the_vendors_form(api: httpx.Client) -> None:
    answer = api.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
