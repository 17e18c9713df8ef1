"""The check from outside against real HTTP servers that behave well or badly."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from stacks import outside
from stacks.errors import CheckFailed

TOKEN = "right-token"
App = Callable[[Request], Response]


def good(request: Request) -> Response:
    """An instance as it should be."""
    if request.path == "/":
        return Response("<h1>alice's assistant</h1>", mimetype="text/html")
    if request.path == "/gateway/":
        return Response("<title>OpenClaw Control</title>", mimetype="text/html")
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return Response("unauthorized", 401)
    if b'"messages": []' in request.data:
        return Response("no messages", 400)
    return Response('{"choices": [{"message": {"content": "hello"}}]}')


@contextmanager
def served(app: App) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, Request.application(app), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://alice.clawdet.localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def failure(app: App) -> str:
    with served(app) as url, pytest.raises(CheckFailed) as caught:
        outside.check_instance(url, "alice", TOKEN, timeout_s=0.2)
    return str(caught.value)


def test_a_good_instance_passes_every_check() -> None:
    with served(good) as url:
        checks = [check.what for check in outside.check_instance(url, "alice", TOKEN)]
    assert checks == [
        "landing page",
        "control UI at /gateway/",
        "gateway accepts the token",
        "gateway refuses a wrong token",
    ]


def test_somebody_else_s_page_is_no_landing_page() -> None:
    assert "landing page" in failure(lambda _request: Response("bob's assistant"))


@pytest.mark.parametrize("status", [502, 521, 525, 526])
def test_the_edge_s_error_is_named_by_its_number(status: int) -> None:
    assert str(status) in failure(lambda _request: Response("down", status))


def test_html_for_everything_is_no_gateway() -> None:
    def app(request: Request) -> Response:
        return good(request) if request.method == "GET" else Response("<html>", 200)

    assert "wrong token was answered 200" in failure(app)


def test_a_gateway_with_another_token_is_found_out() -> None:
    def app(request: Request) -> Response:
        return good(request) if request.method == "GET" else Response("no", 401)

    assert "right token was answered 401" in failure(app)


def test_nobody_listening_is_said() -> None:
    with pytest.raises(CheckFailed, match="no answer"):
        outside.check_instance("http://127.0.0.1:1", "alice", TOKEN, timeout_s=0.1)


def test_a_late_instance_is_waited_for() -> None:
    calls = []

    def app(request: Request) -> Response:
        calls.append(request.path)
        return good(request) if len(calls) > 3 else Response("booting", 521)

    with served(app) as url:
        outside.check_instance(url, "alice", TOKEN, timeout_s=30)


def test_a_chat_answer_is_returned_and_a_failure_told() -> None:
    with served(good) as url:
        assert outside.chat(url, TOKEN, "hi") == "hello"
        with pytest.raises(CheckFailed, match="401"):
            outside.chat(url, "wrong", "hi")
