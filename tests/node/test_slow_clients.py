"""Clients that do not read their answers, or never end their bodies: they cost others nothing, and are let go of."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import httpx
import pytest
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse

from node import app as app_module
from node import http_protocol, lingering, request_stream
from node.app import create_app
from node.lanes import LaneBounds
from node.listener import Listener
from node.metrics import Metrics
from node.request_body import body_reader

LARGE_BYTES = 8 * 2**20
"""More than the buffers of both ends of a connection hold."""
PIECE_BYTES = 256 * 1024
SMALL_LANES = (
    LaneBounds("work", r"\w+ /work", 2, 6, 2.0),
    LaneBounds("downloads", r"GET /downloads", 1, 1, 0.3, from_start=True, until_sent=True),
    LaneBounds("files", r"PUT /files", 1, 1, 0.3, from_start=True),
    LaneBounds("public", r"", 1, 7, 2.0, from_start=True),
)


@dataclass
class Server:
    listener: Listener
    metrics: Metrics
    pause_seconds: float = 0.0
    """How long the work on a piece of an upload takes."""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.listener.port

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.listener.port}{path}", timeout=30, trust_env=False)

    def post(self, path: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.listener.port}{path}"
        return httpx.post(url, content=b"x", timeout=30, trust_env=False)

    def under_way(self, lane: str) -> float:
        return self.metrics.registry.get_sample_value("phr_requests_under_way", {"lane": lane}) or 0.0

    def refused(self, code: str) -> float:
        return self.metrics.registry.get_sample_value("phr_refusals_total", {"code": code}) or 0.0

    @property
    def answered(self) -> int:
        return sum(
            int(sample.value)
            for family in self.metrics.requests.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        )

    @property
    def stalled(self) -> int:
        return sum(each.flow.write_paused for each in set(self.listener._server.server_state.connections))

    @property
    def connections(self) -> int:
        return len(self.listener._server.server_state.connections)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(app_module, "LANES", SMALL_LANES)
    routes = APIRouter()
    read = body_reader(4000)

    @routes.get("/ready")
    async def ready() -> str:
        return "ready"

    @routes.get("/members")
    @routes.get("/downloads")
    def members() -> StreamingResponse:
        return StreamingResponse(iter([bytes(PIECE_BYTES)] * (LARGE_BYTES // PIECE_BYTES)))

    @routes.get("/whole")
    def whole() -> Response:
        return Response(bytes(LARGE_BYTES))

    @routes.get("/ledger")
    def ledger() -> str:
        return "ledger"

    @routes.post("/work")
    def work(body: bytes = Depends(read)) -> int:
        return len(body)

    @routes.put("/files")
    async def receive(request: Request) -> int:
        received = 0
        async for piece in request_stream.pieces(request, int(request.headers["content-length"])):
            await asyncio.sleep(running.pause_seconds)
            received += len(piece)
        return received

    metrics = Metrics()
    listener = Listener(create_app([routes], metrics), "127.0.0.1", 0)
    running = Server(listener, metrics)
    listener.start()
    yield running
    listener.stop()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for each in opened:
        each.close()


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(http_protocol, "LOOK_SECONDS", 0.1)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.005)
    pytest.fail("the condition did not come true in time")


def ask(server: Server, sockets: list[socket.socket], request: bytes) -> socket.socket:
    """Sends a request on a connection whose answers nobody reads."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asking.settimeout(30)
    asking.connect(server.address)
    sockets.append(asking)
    asking.sendall(request)
    return asking


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: node", *headers, "", ""]).encode()


def post(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: node\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def receive_all(connection: socket.socket, pause_seconds: float = 0.0, piece_bytes: int = 65536) -> int:
    """How many bytes came until the end."""
    received = 0
    with suppress(OSError):
        while piece := connection.recv(piece_bytes):
            received += len(piece)
            threading.Event().wait(pause_seconds)
    return received


def test_attack_stranger_who_reads_no_answers_holds_no_turn_that_others_wait_for(server, sockets):
    for _ in range(3):
        ask(server, sockets, get("/members"))
    for _ in range(3):
        ask(server, sockets, get("/members") + post("/work", b"x"))
    wait_until(lambda: server.stalled == 6)
    assert server.under_way("public") == 0
    assert server.get("/ledger").status_code == 200
    assert server.post("/work").status_code == 200


def test_turn_of_an_answer_that_is_made_while_it_is_sent_lasts_until_it_was(server, sockets):
    ask(server, sockets, get("/downloads"))
    wait_until(lambda: server.under_way("downloads") == 1)
    assert server.get("/downloads").status_code == 429


def test_attack_client_that_reads_no_answer_is_cut_off(server, sockets, impatience):
    asking = ask(server, sockets, get("/downloads"))
    wait_until(lambda: server.answered == 1 and server.connections == 0)
    assert server.under_way("downloads") == 0
    assert receive_all(asking) < LARGE_BYTES
    assert server.get("/downloads").status_code == 200


def test_attack_client_that_reads_no_answer_and_asked_to_close_is_cut_off(server, sockets, impatience):
    """The application is done then: only the connection is left, with bytes that nobody takes."""
    ask(server, sockets, get("/whole", "Connection: close"))
    wait_until(lambda: server.answered == 1)
    wait_until(lambda: server.connections == 0)


def test_attack_client_that_reads_a_little_now_and_then_is_cut_off(server, sockets, impatience, monkeypatch):
    monkeypatch.setattr(http_protocol, "LEAST_BYTES_PER_SECOND", 64 * 2**20)
    asking = ask(server, sockets, get("/members"))
    assert receive_all(asking, pause_seconds=0.02, piece_bytes=4096) < LARGE_BYTES


def test_client_that_reads_slowly_gets_its_whole_answer(server, sockets, monkeypatch):
    monkeypatch.setattr(http_protocol, "PATIENCE_SECONDS", 10.0)
    monkeypatch.setattr(http_protocol, "LOOK_SECONDS", 0.1)
    asking = ask(server, sockets, get("/members", "Connection: close"))
    assert receive_all(asking, pause_seconds=0.002) > LARGE_BYTES


def test_attack_connections_that_read_nothing_make_room_for_a_new_one(server, sockets, monkeypatch):
    monkeypatch.setattr(http_protocol, "CONNECTIONS", 8)
    monkeypatch.setattr(http_protocol, "LOOK_SECONDS", 0.1)
    for _ in range(7):
        ask(server, sockets, get("/members"))
    ask(server, sockets, get("/members"))
    wait_until(lambda: server.stalled == 8)
    for _ in range(20):
        assert server.get("/ready").status_code == 200


def test_attack_one_address_with_all_connections_makes_room_for_another(server, sockets, monkeypatch):
    """Bodies under way are no idling and no stalling; the newcomer's address has hardly any connection."""
    monkeypatch.setattr(http_protocol, "CONNECTIONS", 8)
    head = b"POST /work HTTP/1.1\r\nHost: node\r\nContent-Length: 4000\r\n\r\n"
    for _ in range(8):
        ask(server, sockets, head)
    wait_until(lambda: server.under_way("work") == 8)
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=transport, trust_env=False, timeout=30) as elsewhere:
        assert elsewhere.get(f"http://127.0.0.1:{server.listener.port}/ready").status_code == 200


def test_attack_refused_request_whose_body_dribbles_holds_no_turn(server, sockets, monkeypatch):
    lingers, drop = threading.Semaphore(0), lingering._drop_rest

    async def drop_noting(receive: object) -> None:
        lingers.release()
        await drop(receive)

    monkeypatch.setattr(lingering, "_drop_rest", drop_noting)
    ended = threading.Event()

    def dribble(asking: socket.socket) -> None:
        with suppress(OSError):
            while not ended.wait(0.1):
                asking.send(b"x")

    head = b"POST /nowhere HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000000\r\n\r\n"
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(dribble, ask(server, sockets, head))
        try:
            for _ in range(3):
                assert lingers.acquire(timeout=30)
            assert server.under_way("public") == 0
            assert json.loads(server.get("/ledger").content) == "ledger"
        finally:
            ended.set()


def upload(server: Server, piece_bytes: int, count: int) -> int:
    """Sends a file in pieces with pauses; the status of the answer, 0 where there was none."""

    def pieces() -> Iterator[bytes]:
        for _ in range(count):
            yield bytes(piece_bytes)
            threading.Event().wait(0.02)

    try:
        return httpx.put(
            f"http://127.0.0.1:{server.listener.port}/files",
            content=pieces(),
            headers={"Content-Length": str(piece_bytes * count)},
            timeout=60,
            trust_env=False,
        ).status_code
    except httpx.HTTPError:
        return 0


def test_attack_upload_that_dribbles_is_cut_off(server, monkeypatch):
    """No pause is long enough to count as idle, and the whole would take hours."""
    monkeypatch.setattr(request_stream, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.1)
    assert upload(server, piece_bytes=1, count=500) in (0, 400)
    assert server.refused("body-too-slow") == 1


def test_upload_that_comes_fast_enough_is_taken_however_slowly_it_is_dealt_with(server, monkeypatch):
    monkeypatch.setattr(request_stream, "GRACE_SECONDS", 8.0)
    monkeypatch.setattr(request_stream, "LEAST_BYTES_PER_SECOND", 10**9)
    server.pause_seconds = 1.6
    assert upload(server, piece_bytes=request_stream.PIECE_BYTES, count=6) == 200
