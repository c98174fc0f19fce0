"""A hostile node, over real HTTP: whatever it answers, the wallet reads little, waits little, and says what came."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from crypto.signer import AccountKey
from wallet.errors import NodeAnswerInvalid, NodeRefused, NodeUnreachable
from wallet.transport import NodeTransport, new_http_client
from wire.ledger import LedgerDescription
from wire.signing import RequestKey

Answer = Callable[[BaseHTTPRequestHandler], None]


class _Server(ThreadingHTTPServer):
    answer: Answer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            self.server.answer(self)  # type: ignore[attr-defined]
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    httpd = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()
    thread.join(60)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with new_http_client() as client:
        yield client


def transport(server: _Server, http: httpx.Client) -> NodeTransport:
    return NodeTransport(f"http://127.0.0.1:{server.server_port}", bytes(20), "Clinic", http)


def respond(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_exchange_with_an_endless_answer_stops_at_the_limit(server: _Server, http: httpx.Client) -> None:
    sent = 0

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(65536))
            sent += 65536

    server.answer = endless
    with pytest.raises(NodeAnswerInvalid, match="at most 100000 bytes"):
        transport(server, http).exchange("GET", "/x", None, limit_bytes=100_000)
    assert sent < 50_000_000


def test_exchange_with_an_answer_in_drops_ends_in_time(server: _Server, http: httpx.Client) -> None:
    ended = threading.Event()

    def drops(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not ended.wait(0.05):
            handler.wfile.write(b" ")

    server.answer = drops
    started = time.monotonic()
    with pytest.raises(NodeUnreachable, match="in time"):
        transport(server, http).exchange("GET", "/x", None, answer_seconds=4.0)
    ended.set()
    assert time.monotonic() - started < 60


def test_exchange_with_a_redirect_does_not_follow_it(server: _Server, http: httpx.Client) -> None:
    server.answer = respond(302, b"", Location="http://127.0.0.1:1/elsewhere")
    with pytest.raises(NodeAnswerInvalid, match="redirect"):
        transport(server, http).exchange("GET", "/x", None)


def test_attack_malformed_cookie_of_a_node_fails_no_later_exchange(
    server: _Server, http: httpx.Client
) -> None:
    server.answer = respond(200, b"good", Set_Cookie="a=\xff; Path=/")
    assert [transport(server, http).exchange("GET", "/x", None) for _ in range(2)] == [b"good", b"good"]


def test_exchange_with_a_compressed_answer_refuses_the_bomb(server: _Server, http: httpx.Client) -> None:
    server.answer = respond(200, gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")
    with pytest.raises(NodeAnswerInvalid, match="Content-Encoding"):
        transport(server, http).exchange("GET", "/x", None, limit_bytes=20_000_000)


def test_get_with_an_answer_of_another_shape_says_what_was_expected(
    server: _Server, http: httpx.Client
) -> None:
    server.answer = respond(200, b'{"chain_id": "secret-looking"}')
    with pytest.raises(NodeAnswerInvalid, match="expected a LedgerDescription") as raised:
        transport(server, http).get(LedgerDescription, "/ledger")
    assert "secret-looking" not in str(raised.value)


def test_exchange_with_a_problem_carries_its_code_and_words(server: _Server, http: httpx.Client) -> None:
    body = b'{"title": "T", "status": 409, "code": "stale-epoch", "detail": "expected epoch 2; came 1"}'
    server.answer = respond(409, body)
    with pytest.raises(NodeRefused, match="expected epoch 2") as raised:
        transport(server, http).exchange("GET", "/x", None)
    assert (raised.value.status, raised.value.code, raised.value.node) == (409, "stale-epoch", "Clinic")


def test_exchange_with_a_refusal_of_no_shape_still_is_a_refusal(server: _Server, http: httpx.Client) -> None:
    server.answer = respond(500, b"<html>" * 1000)
    with pytest.raises(NodeRefused, match="without saying why"):
        transport(server, http).exchange("GET", "/x", None)


def test_exchange_with_nobody_there_names_the_node_and_no_identifier(http: httpx.Client) -> None:
    nobody = NodeTransport("http://127.0.0.1:1", bytes(20), "Clinic", http)
    with pytest.raises(NodeUnreachable) as raised:
        nobody.exchange("GET", "/patients/0x" + "ab" * 20 + "/records", None)
    assert str(raised.value).startswith("Clinic: no answer to GET /patients/records")
    assert "abab" not in str(raised.value)


def test_exchange_with_a_busy_node_is_repeated_when_it_says_so_signed_anew(
    server: _Server, http: httpx.Client
) -> None:
    seen: list[str] = []
    problem = b'{"title":"Too much","status":429,"code":"busy","detail":"ask again"}'

    def busy_once(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Signature-Input", ""))
        first = len(seen) == 1
        respond(429 if first else 200, problem if first else b"done", Retry_After="0")(handler)

    server.answer = busy_once
    key = RequestKey.of_patient(AccountKey.generate())
    assert transport(server, http).exchange("GET", "/patients/0x00", key) == b"done"
    assert len(set(seen)) == 2


def test_exchange_with_a_node_that_is_busy_for_too_long_is_refused_at_once(
    server: _Server, http: httpx.Client
) -> None:
    problem = b'{"title":"Too much","status":429,"code":"busy","detail":"ask again"}'
    server.answer = respond(429, problem, Retry_After="3600")
    began = time.monotonic()
    with pytest.raises(NodeRefused) as refused:
        transport(server, http).exchange("GET", "/members", None)
    assert (refused.value.status, time.monotonic() - began < 60) == (429, True)
