"""The listener's connections: those that send no request end, those at work do not."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from fastapi import APIRouter

from node import http_protocol
from node.app import create_app
from node.listener import Listener
from node.metrics import Metrics

HEAD_SECONDS = 0.3


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", HEAD_SECONDS)
    routes, waiting = APIRouter(), threading.Event()

    @routes.get("/quick")
    def quick() -> str:
        return "quick"

    @routes.get("/slow")
    def slow() -> str:
        waiting.wait(3 * HEAD_SECONDS)
        return "slow"

    running = Listener(create_app([routes], Metrics()), "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


def until_closed(connection: socket.socket, trickle: bytes = b"") -> bytes:
    """What came until the other side closed."""
    deadline, answer = time.monotonic() + 60, b""
    connection.settimeout(HEAD_SECONDS / 10)
    while time.monotonic() < deadline:
        try:
            if trickle:
                connection.send(trickle)
            part = connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if not part:
            break
        answer += part
    else:
        pytest.fail("the connection was never closed")
    return answer


def connect(listener: Listener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.port), timeout=60)


def test_connection_that_sends_nothing_is_closed(listener: Listener) -> None:
    started = time.monotonic()
    with connect(listener) as connection:
        answer = until_closed(connection)
    assert answer == b""
    assert time.monotonic() - started >= HEAD_SECONDS / 2


def test_head_that_trickles_in_for_ever_is_cut_off(listener: Listener) -> None:
    with connect(listener) as connection:
        connection.sendall(b"GET /quick HTTP/1.1\r\nHost: node\r\n")
        until_closed(connection, trickle=b"X: 1\r\n")


def test_connection_that_is_kept_alive_ends_when_no_further_request_comes(listener: Listener) -> None:
    with connect(listener) as connection:
        connection.sendall(b"GET /quick HTTP/1.1\r\nHost: node\r\n\r\n")
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 200")


def test_request_at_work_for_longer_is_answered(listener: Listener) -> None:
    started = time.monotonic()
    with connect(listener) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: node\r\n\r\n")
        answer = until_closed(connection)
    assert answer.endswith(b'"slow"')
    assert time.monotonic() - started >= 3 * HEAD_SECONDS
