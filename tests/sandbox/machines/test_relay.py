import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from sandbox.machines.relay import Relay

MB = 1 << 20


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.fixture
def through_relay() -> Iterator[Callable[[tuple[str, int]], tuple[str, int]]]:
    """Makes an address that is passed on to the one given."""
    relay, forwards = Relay(), []

    def start(target: tuple[str, int]) -> tuple[str, int]:
        listener = listen()
        address: tuple[str, int] = listener.getsockname()
        forwards.append(relay.forward(listener, socket.socket, target))
        return address

    yield start
    for forward in forwards:
        forward.close()
    relay.close()


Through = Callable[[tuple[str, int]], tuple[str, int]]


def serve(handle: Callable[[socket.socket], None]) -> tuple[str, int]:
    """Handle one connection in a thread; where."""
    server = listen()

    def run() -> None:
        with server:
            connection, _ = server.accept()
        with connection:
            handle(connection)

    threading.Thread(target=run).start()
    address: tuple[str, int] = server.getsockname()
    return address


def read_all(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(MB):
        chunks.append(chunk)
    return b"".join(chunks)


def test_an_answer_comes_after_the_client_has_finished_sending(through_relay: Through) -> None:
    target = serve(lambda c: c.sendall(read_all(c)[::-1]))
    with socket.create_connection(through_relay(target), timeout=60) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"noitseuq"


def test_a_large_transfer_both_ways_arrives_whole(through_relay: Through) -> None:
    sent = bytes(range(256)) * (64 * MB // 256)

    def echo(connection: socket.socket) -> None:
        while chunk := connection.recv(MB):
            connection.sendall(chunk)

    with socket.create_connection(through_relay(serve(echo)), timeout=30) as client:

        def send() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = read_all(client)
        sender.join()
    assert received == sent


def test_a_slow_reader_slows_the_sender_down(through_relay: Through) -> None:
    accepted = threading.Event()
    release = threading.Event()

    def hold(connection: socket.socket) -> None:
        accepted.set()
        release.wait(30)
        connection.close()

    with socket.create_connection(through_relay(serve(hold)), timeout=1) as client:
        accepted.wait(60)
        taken = 0
        with suppress(TimeoutError):
            while taken < 200 * MB:
                taken += client.send(bytes(MB))
        release.set()
    assert taken < 100 * MB  # the kernel's socket buffers, not the relay's memory


def test_a_closed_port_behind_it_resets_the_connection_at_once(through_relay: Through) -> None:
    with listen() as unused:
        target = unused.getsockname()
    started = time.monotonic()
    with (
        pytest.raises(ConnectionResetError),  # which connect() may see already
        socket.create_connection(through_relay(target), timeout=60) as client,
    ):
        client.recv(1)
    assert time.monotonic() - started < 10  # not the time-out


def test_a_servers_reset_reaches_the_client_as_a_reset(through_relay: Through) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(1)  # what follows stays unread, so that close() resets

    with socket.create_connection(through_relay(serve(reset)), timeout=60) as client:
        client.sendall(b"xyz")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_closing_a_forward_refuses_new_connections_and_resets_old_ones() -> None:
    relay = Relay()
    listener = listen()
    address = listener.getsockname()
    done = threading.Event()

    def answer_and_wait(connection: socket.socket) -> None:
        connection.sendall(connection.recv(1))
        done.wait(60)

    target = serve(answer_and_wait)
    forward = relay.forward(listener, socket.socket, target)
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        forward.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=60)
    done.set()
    relay.close()
