"""The JSON-RPC client against endpoints that lie, stall, flood or are not there; each a real HTTP server."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ledger.blocks import parse_block, parse_log, quantity
from ledger.chain import Chain
from ledger.engine import ANVIL
from ledger.errors import AnswerTooLarge, ChainAnswerInvalid, ChainUnreachable, RpcRefused

Answer = Callable[[Any], bytes]


class Endpoint:
    """A server whose answer each test sets: bytes, made from the parsed request."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: b"{}"
        self.status = 200
        self.cookie: str | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = endpoint.answer(json.loads(body))
                self.send_response(endpoint.status)
                self.send_header("content-length", str(len(answer)))
                if endpoint.cookie is not None:
                    self.send_header("set-cookie", endpoint.cookie)
                self.end_headers()
                try:
                    self.wfile.write(answer)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def chain(endpoint: Endpoint) -> Iterator[Chain]:
    with Chain(endpoint.url, ANVIL, max_answer_bytes=10_000) as made:
        yield made


def result(value: Any) -> Answer:
    return lambda request: json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode()


def test_answer_over_the_limit_is_not_read_on(endpoint: Endpoint, chain: Chain) -> None:
    endpoint.answer = result("0x" + "00" * 1_000_000)
    with pytest.raises(AnswerTooLarge, match="10000 bytes"):
        chain.chain_id()


@pytest.mark.parametrize(
    "answer",
    [b"", b"no JSON", b"[]", b"{}", b'{"error": 5}', b'{"error": {}}', b'"0x1"', b"[" * 9_000, b"\xff\xfe"],
)
def test_answer_that_is_no_rpc_answer_is_refused(endpoint: Endpoint, chain: Chain, answer: bytes) -> None:
    endpoint.answer = lambda request: answer
    with pytest.raises(ChainAnswerInvalid):
        chain.chain_id()


@pytest.mark.parametrize("value", [None, 1, "1", "0x", "0x01", "0xg", "0x-1", "0x" + "f" * 65, True, []])
def test_quantity_out_of_form_is_refused(value: object) -> None:
    with pytest.raises(ChainAnswerInvalid):
        quantity(value)


def test_attack_malformed_cookie_of_an_endpoint_fails_no_later_request(
    endpoint: Endpoint, chain: Chain
) -> None:
    endpoint.answer, endpoint.cookie = result("0x7"), "a=\xff; Path=/"
    assert [chain.chain_id(), chain.chain_id()] == [7, 7]


def test_error_of_the_endpoint_is_raised_with_its_words_and_revert_data(
    endpoint: Endpoint, chain: Chain
) -> None:
    error = {"code": 3, "message": "execution reverted", "data": "0x01020304"}
    endpoint.answer = lambda request: json.dumps({"id": request["id"], "error": error}).encode()
    with pytest.raises(RpcRefused, match="execution reverted") as refused:
        chain.call(bytes(20), b"")
    assert (refused.value.code, refused.value.data) == (3, b"\x01\x02\x03\x04")


def test_many_answers_out_of_order_are_put_in_order(endpoint: Endpoint, chain: Chain) -> None:
    endpoint.answer = lambda several: json.dumps(
        [{"id": one["id"], "result": one["params"][0]} for one in reversed(several)]
    ).encode()
    assert chain.request_many("any", [[n] for n in range(5)]) == list(range(5))


@pytest.mark.parametrize("forget", [0, 3])
def test_many_answers_with_one_missing_are_refused(endpoint: Endpoint, chain: Chain, forget: int) -> None:
    def answer(several: Any) -> bytes:
        kept = [one for index, one in enumerate(several) if index != forget]
        return json.dumps([{"id": one["id"], "result": 1} for one in kept]).encode()

    endpoint.answer = answer
    with pytest.raises(ChainAnswerInvalid, match="each of 4"):
        chain.request_many("any", [[n] for n in range(4)])


LOG = {
    "address": "0x" + "0c" * 20,
    "topics": ["0x" + "01" * 32],
    "data": "0x",
    "blockNumber": "0x5",
    "blockHash": "0x" + "02" * 32,
    "logIndex": "0x0",
    "transactionHash": "0x" + "03" * 32,
}


@pytest.mark.parametrize(
    "changes", [{"address": "0x" + "0d" * 20}, {"blockNumber": "0x9"}, {"blockNumber": "0x1"}]
)
def test_logs_that_were_not_asked_for_are_refused(
    endpoint: Endpoint, chain: Chain, changes: dict[str, str]
) -> None:
    endpoint.answer = result([LOG | changes])
    with pytest.raises(ChainAnswerInvalid, match="not asked for"):
        chain.logs(b"\x0c" * 20, 2, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"removed": True},
        {"topics": None},
        {"topics": ["0x" + "01" * 31]},
        {"data": "0x1"},
        {"blockHash": None},
    ],
)
def test_log_out_of_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ChainAnswerInvalid):
        parse_log(LOG | changes)


@pytest.mark.parametrize("answer", [None, {}, {"number": "0x1"}, []])
def test_block_out_of_form_is_refused(answer: object) -> None:
    with pytest.raises(ChainAnswerInvalid):
        parse_block(answer)


def test_endpoint_that_speaks_no_rpc_is_named(endpoint: Endpoint, chain: Chain) -> None:
    endpoint.status = 404
    with pytest.raises(ChainUnreachable, match="HTTP 404"):
        chain.chain_id()


def test_endpoint_that_is_not_there_is_named() -> None:
    with (
        Chain("http://127.0.0.1:1", ANVIL) as nowhere,
        pytest.raises(ChainUnreachable, match=r"127\.0\.0\.1:1"),
    ):
        nowhere.chain_id()


def test_endpoint_that_stalls_is_given_up_in_time(endpoint: Endpoint) -> None:
    go_on = threading.Event()

    def stall(request: Any) -> bytes:
        go_on.wait(30)
        return b"{}"

    endpoint.answer = stall
    try:
        with Chain(endpoint.url, ANVIL, timeout_seconds=0.1) as chain, pytest.raises(ChainUnreachable):
            chain.chain_id()
    finally:
        go_on.set()
