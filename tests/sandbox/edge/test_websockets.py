import json
import socket

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.sandbox.edge.conftest import Setup, eventually


def dial(edge: Setup, name: str, path: str = "/ws", *protocols: str) -> ClientConnection:
    connection = socket.create_connection(("127.0.0.1", edge.port), timeout=30)
    return connect(
        f"ws://{edge.authority(name)}{path}",
        sock=connection,
        subprotocols=protocols or None,  # type: ignore[arg-type]  # names are plain strings
        proxy=None,
        max_size=None,
        open_timeout=30,
        close_timeout=30,
    )


def test_messages_go_both_ways_as_they_are(edge: Setup) -> None:
    with dial(edge, edge.site()) as visitor:
        for message in ("hello", "żółw", b"\x00\xff", "x" * 5_000_000, ""):
            visitor.send(message)
            assert visitor.recv(timeout=30) == message


def test_the_handshake_tells_the_origin_what_a_request_would(edge: Setup) -> None:
    name = edge.site()
    with dial(edge, name) as visitor:
        visitor.send("headers")
        seen = {key.lower(): value for key, value in json.loads(visitor.recv(timeout=30)).items()}
    assert seen["host"] == name
    assert seen["cf-connecting-ip"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "https"
    assert "sec-websocket-extensions" not in seen


def test_the_subprotocol_is_what_the_origin_chose(edge: Setup) -> None:
    name = edge.site()
    with dial(edge, name, "/ws", "v1", "v2") as visitor:
        assert visitor.subprotocol in ("v1", "v2")
        eventually(lambda: edge.origins.seen == [visitor.subprotocol])
    with dial(edge, name) as visitor:
        assert visitor.subprotocol is None


def test_the_visitor_learns_with_which_code_the_origin_closed(edge: Setup) -> None:
    with dial(edge, edge.site()) as visitor:
        visitor.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            visitor.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


def test_the_origin_learns_with_which_code_the_visitor_closed(edge: Setup) -> None:
    with dial(edge, edge.site()) as visitor:
        visitor.close(code=4002, reason="bye")
    eventually(lambda: "closed 4002" in edge.origins.seen)


def test_a_ping_is_answered_through_the_edge(edge: Setup) -> None:
    with dial(edge, edge.site()) as visitor:
        assert visitor.ping().wait(60)


def test_an_origin_that_vanishes_breaks_the_visitors_connection(edge: Setup) -> None:
    with dial(edge, edge.site()) as visitor:
        visitor.send("vanish")
        with pytest.raises(ConnectionClosed) as closed:
            visitor.recv(timeout=30)
    assert closed.value.rcvd is None


def test_a_visitor_that_vanishes_is_noticed_by_the_origin(edge: Setup) -> None:
    with dial(edge, edge.site()) as visitor:
        visitor.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: any((end or "").startswith("closed") for end in edge.origins.seen))


def test_a_handshake_that_the_origin_refuses_is_refused_with_its_status(edge: Setup) -> None:
    with pytest.raises(InvalidStatus) as refused:
        dial(edge, edge.site(), "/ws?refuse")
    assert refused.value.response.status_code == 403


def test_a_handshake_with_a_server_that_is_off_is_521(edge: Setup) -> None:
    name, _ = edge.name()
    with pytest.raises(InvalidStatus) as refused:
        dial(edge, name)
    assert refused.value.response.status_code == 521
