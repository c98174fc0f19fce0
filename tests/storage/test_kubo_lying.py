"""A Kubo that lies, dribbles, floods or hangs up: every answer is right or an error that names it, in time.

The daemon is played by a server of the test; the real one is in tests/network.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from storage import (
    MAX_BLOCK_BYTES,
    BlockCorruptError,
    BlockNotFoundError,
    Cid,
    KuboBlockStore,
    StorageError,
    StoreAccessError,
    StoreAnswerError,
    StoreFullError,
    StoreUnavailableError,
)

_SECRET = "the-rpc-secret"
_CALL_SECONDS = 60.0
_SHORT_CALL_SECONDS = 1.0
"""Where no answer comes in time."""
_BLOCK = b"the block that was asked for"
_CID = Cid.of(_BLOCK)

Answer = Callable[[BaseHTTPRequestHandler], None]


class PlayedKubo:
    """An HTTP server whose answer to each command is set by the test."""

    def __init__(self) -> None:
        played = self
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.over = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else the second half of each answer waits for the first one's acknowledgement, 40 ms.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                url = urlsplit(self.path)
                command = url.path.removeprefix("/api/v0/")
                played.asked.append((command, parse_qs(url.query)))
                assert self.headers["Authorization"] == f"Bearer {_SECRET}"
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with suppress(ConnectionError):
                    played.answers.get(command, said(500, {"Message": "not pinned"}))(self)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def played() -> Iterator[PlayedKubo]:
    kubo = PlayedKubo()
    yield kubo
    kubo.over.set()
    kubo.server.shutdown()
    kubo.server.server_close()


@pytest.fixture
def store(played: PlayedKubo) -> Iterator[KuboBlockStore]:
    opened = KuboBlockStore(played.url, _SECRET, call_seconds=_CALL_SECONDS)
    yield opened
    opened.close()


def said(status: int, body: object) -> Answer:
    """A whole answer; bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.mark.parametrize(
    "answer",
    [b"", _BLOCK[:-1], _BLOCK + b"!", b"another block", b"\0" * len(_BLOCK)],
    ids=["nothing", "cut short", "longer", "another block", "zeros"],
)
def test_get_of_wrong_bytes_names_block_and_daemon(
    played: PlayedKubo, store: KuboBlockStore, answer: bytes
) -> None:
    """Attack: status 200 and other bytes."""
    played.answers["block/get"] = said(200, answer)
    with pytest.raises(BlockCorruptError) as raised:
        store.get(_CID)
    assert str(_CID) in str(raised.value)
    assert played.url in str(raised.value)


def test_get_asks_the_daemon_for_its_own_blocks_only(played: PlayedKubo, store: KuboBlockStore) -> None:
    played.answers["block/get"] = said(200, _BLOCK)
    assert store.get(_CID) == _BLOCK
    [(_, asked)] = played.asked
    assert asked["offline"] == ["true"]
    assert float(asked["timeout"][0].rstrip("s")) <= _CALL_SECONDS


@pytest.mark.parametrize("length", ["announced", "chunked"])
def test_get_of_an_endless_answer_stops_at_the_limit(
    played: PlayedKubo, store: KuboBlockStore, length: str
) -> None:
    """Attack: a gibibyte in answer to a block."""
    sent = threading.Event()
    counted = [0]

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if length == "announced":
            handler.send_header("Content-Length", str(1024**3))
        else:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        part = bytes(64 * 1024)
        try:
            for _ in range(1024**3 // len(part)):
                handler.wfile.write(b"10000\r\n" + part + b"\r\n" if length == "chunked" else part)
                counted[0] += len(part)
        except ConnectionError:
            sent.set()

    played.answers["block/get"] = flood
    with pytest.raises(BlockCorruptError, match=str(MAX_BLOCK_BYTES)):
        store.get(_CID)
    assert sent.wait(60), "the connection was not closed"
    assert counted[0] < 64 * 1024 * 1024, "it read on beyond what a connection buffers"


def _dribble(played: PlayedKubo, start: bytes, piece: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        while not played.over.wait(0.05):
            handler.wfile.write(piece)

    return answer


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 1000\r\n\r\n",
    ],
    ids=["nothing but bytes", "headers", "body", "body of an error"],
)
def test_get_from_a_daemon_that_dribbles_ends_in_time(played: PlayedKubo, start: bytes) -> None:
    """Attack: a byte now and then (slow loris), which no limit of a single read would break."""
    played.answers["block/get"] = _dribble(played, start, b"x" if start else b"")
    with closing(KuboBlockStore(played.url, _SECRET, call_seconds=_SHORT_CALL_SECONDS)) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="within 1 s"):
            store.get(_CID)
        # It dribbles until the test is over: whoever waits for its end never comes here.
        assert time.monotonic() - began < 60 * _SHORT_CALL_SECONDS


@pytest.mark.parametrize(
    "answer",
    [
        {"Key": str(Cid.of(b"another")), "Size": 7},
        {"Key": "x" * 100_000},
        {"Size": 5},
        [],
        "text",
        b"not JSON",
        b"",
    ],
)
def test_put_that_is_answered_with_another_key_is_refused(
    played: PlayedKubo, store: KuboBlockStore, answer: object
) -> None:
    """Attack: the daemon says that it kept something else, and the put would be taken for done."""
    played.answers["block/put"] = said(200, answer)
    with pytest.raises((BlockCorruptError, StoreAnswerError)) as raised:
        store.put(_BLOCK)
    assert played.url in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert "pin/add" not in [command for command, _ in played.asked], "it pinned what was not kept"


@pytest.mark.parametrize(
    "answer", [[], {"Keys": []}, {"Keys": {"x": 1}}, {}, b"<html>", {"Keys": {"other": {}}}]
)
def test_has_that_is_answered_with_something_else_is_an_error(
    played: PlayedKubo, store: KuboBlockStore, answer: object
) -> None:
    """Attack: an answer that might be taken for yes or for no."""
    played.answers["pin/ls"] = said(200, answer)
    with pytest.raises(StoreAnswerError, match="do not trust"):
        store.has(_CID)


def test_cids_of_a_list_that_breaks_off_are_an_error(played: PlayedKubo, store: KuboBlockStore) -> None:
    """A list that ends early must not be taken for a store that lost blocks."""
    whole = orjson.dumps({"Keys": {str(_CID): {"Type": "direct", "Name": ""}}})

    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        handler.wfile.write(b"%x\r\n%s\r\n0\r\nX-Stream-Error: broken\r\n\r\n" % (len(whole) - 2, whole[:-2]))

    played.answers["pin/ls"] = cut
    with pytest.raises(StoreAnswerError):
        list(store.cids())
    played.answers["pin/ls"] = said(200, whole)
    assert list(store.cids()) == [_CID]


def _only_single_questions(played: PlayedKubo) -> Callable[[], int]:
    """A daemon with so many pins that a list of all of them never ends in time; counts how often it was asked for."""

    def pins(handler: BaseHTTPRequestHandler) -> None:
        arguments = played.asked[-1][1]
        if "arg" not in arguments:
            said(500, {"Message": "context deadline exceeded"})(handler)
        elif arguments["arg"] == [str(_CID)]:
            said(200, {"Keys": {str(_CID): {"Type": "direct", "Name": ""}}})(handler)
        else:
            said(500, {"Message": "not pinned"})(handler)

    played.answers["pin/ls"] = pins
    return lambda: sum("arg" not in arguments for _, arguments in played.asked)


def test_missing_of_a_few_blocks_asks_for_them_and_never_for_all(
    played: PlayedKubo, store: KuboBlockStore
) -> None:
    lists = _only_single_questions(played)
    absent = Cid.of(b"another")
    assert store.missing([_CID, absent]) == frozenset({absent})
    assert lists() == 0


def test_missing_of_many_blocks_whose_list_does_not_come_asks_one_by_one_from_then_on(
    played: PlayedKubo, store: KuboBlockStore
) -> None:
    lists = _only_single_questions(played)
    absent = {Cid.of(b"%d" % number) for number in range(300)}
    for _ in range(2):
        assert store.missing({_CID, *absent}) == absent
    assert lists() == 1


def test_cids_leave_out_what_this_store_does_not_hold(played: PlayedKubo, store: KuboBlockStore) -> None:
    pins = {
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn": {"Type": "direct", "Name": ""},
        str(Cid.of(b"named by its operator")): {"Type": "direct", "Name": "backup"},
        str(_CID): {"Type": "direct", "Name": ""},
    }
    played.answers["pin/ls"] = said(200, {"Keys": pins})
    assert list(store.cids()) == [_CID]
    assert list(store.pins()) == []


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (500, "write /x/temp-1: no space left on device", StoreFullError),
        (500, "pin: leveldb: disk quota exceeded", StoreFullError),
        (500, "block was not found locally (offline): ipld: could not find bafk", BlockNotFoundError),
        (500, "context deadline exceeded", StoreUnavailableError),
        (500, "something else " + "x" * 10_000, StorageError),
        (403, "denied", StoreAccessError),
        (401, "denied", StoreAccessError),
        (404, "404 page not found", StoreAnswerError),
        (302, "elsewhere", StoreAnswerError),
        (200, b"\xff" * 10, BlockCorruptError),
    ],
)
def test_get_of_an_error_is_told_as_what_it_means(
    played: PlayedKubo, store: KuboBlockStore, status: int, message: str | bytes, expected: type[StorageError]
) -> None:
    body = {"Message": message, "Code": 0, "Type": "error"} if isinstance(message, str) else message
    played.answers["block/get"] = said(status, body)
    with pytest.raises(StorageError) as raised:
        store.get(_CID)
    assert type(raised.value) is expected
    assert str(_CID) in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert _SECRET not in str(raised.value)


def test_get_from_a_daemon_that_hangs_up_twice_succeeds(played: PlayedKubo, store: KuboBlockStore) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        if len(played.asked) == 2:
            played.answers["block/get"] = said(200, _BLOCK)
        handler.close_connection = True

    played.answers["block/get"] = hang_up
    assert store.get(_CID) == _BLOCK
    assert len(played.asked) == 3


def test_get_from_a_daemon_that_is_down_says_so_after_bounded_attempts() -> None:
    # No server is ever there, and no outgoing connection gets this port.
    url = "http://127.0.0.1:1"
    with closing(KuboBlockStore(url, _SECRET, call_seconds=600.0)) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="start the daemon") as raised:
            store.get(_CID)
    assert time.monotonic() - began < 60
    assert url in str(raised.value)


@pytest.mark.parametrize("answer", [{}, {"StorageMax": "x", "RepoSize": 1}, [], {"StorageMax": None}])
def test_free_bytes_of_no_answer_is_an_error(
    played: PlayedKubo, store: KuboBlockStore, answer: object
) -> None:
    played.answers["repo/stat"] = said(200, answer)
    with pytest.raises(StoreAnswerError):
        store.free_bytes()
    played.answers["repo/stat"] = said(200, {"StorageMax": 10, "RepoSize": 12})
    assert store.free_bytes() == 0


def test_secret_is_in_no_representation(store: KuboBlockStore) -> None:
    assert _SECRET not in repr(store) + str(store)
