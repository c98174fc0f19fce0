"""Peers that lie, stall or flood: they are named, they cost a bounded time and memory, and the others are used."""

import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import httpx
import pytest
from node_fixtures import Member, Network
from records_flow import Case
from structlog.testing import capture_logs

from node import breaker
from node.breaker import FAILURES
from node.peer_node import PeerFailed, PeerNode
from storage import BlockCorruptError, BlockNotFoundError, Cid
from storage.deadlines import DeadlineTransport
from vocabulary import Reason
from wire.custody import LostDeposits, LostDepositsAnswer, ReleaseItem, ReleaseRequest

CALL_SECONDS = 1.0
"""For calls that are to end by it."""
PATIENCE_SECONDS = 60.0
"""For calls that end otherwise, on however busy a machine."""


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A raw TCP server that reads a request's start and lets ``answer`` do the rest."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65536)
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def peer_at(network: Network) -> Iterator[Callable[..., PeerNode]]:
    """A client of a member whose endpoint is somewhere else than its node."""
    node = network.members[0].node
    client = httpx.Client(transport=DeadlineTransport(max_connections=4, max_keepalive_connections=2))
    member = node.ledger.snapshot().state.members[network.members[1].address]

    def make(url: str, call_seconds: float = PATIENCE_SECONDS) -> PeerNode:
        keys = (replace(member.current_keys, endpoint=url),)
        return PeerNode(
            replace(member, keys=keys), node.identity.request_key, client, call_seconds=call_seconds
        )

    yield make
    client.close()


@pytest.fixture
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever failed is left alone until the test is over, however slow the machine is."""
    for name in ("OPEN_SECONDS", "LONGEST_OPEN_SECONDS"):
        monkeypatch.setattr(breaker, name, 600.0)


CID = Cid.of(b"some block")


def drip_headers(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.1)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def say_nothing(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize("answer", [drip_headers, drip_body, say_nothing])
def test_slow_peer_costs_no_more_than_the_calls_time(peer_at, answer):
    with server(answer) as url:
        started = time.monotonic()
        with pytest.raises(PeerFailed, match="Busan Hospital"):
            peer_at(url, CALL_SECONDS).get(CID)
        # Left to itself, it would go on for ever.
        assert time.monotonic() - started < PATIENCE_SECONDS


def flood(connection: socket.socket) -> None:
    size_bytes = 1024**3
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size_bytes)
    part = b"\0" * 2**20
    for _ in range(size_bytes // len(part)):
        connection.sendall(part)


def test_peer_that_answers_a_gigabyte_is_cut_off_in_bounded_memory(peer_at):
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with server(flood) as url, pytest.raises(PeerFailed, match="more than"):
        peer_at(url).get(CID)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


def test_peer_that_compresses_its_answer_is_refused_before_it_is_unpacked(peer_at):
    def bomb(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
        )

    with server(bomb) as url, pytest.raises(PeerFailed, match="compressed"):
        peer_at(url).get(CID)


def test_peer_that_redirects_elsewhere_is_not_followed(peer_at):
    followed = threading.Event()

    def target(connection: socket.socket) -> None:
        followed.set()

    with server(target) as elsewhere:

        def redirect(connection: socket.socket) -> None:
            connection.sendall(
                b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % elsewhere.encode()
            )

        with server(redirect) as url, pytest.raises(PeerFailed):
            peer_at(url).get(CID)
    assert not followed.is_set()


def test_peer_that_swaps_a_block_is_named(peer_at):
    def swap(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")

    with server(swap) as url, pytest.raises(BlockCorruptError, match="Busan Hospital"):
        peer_at(url).get(CID)


def test_attack_malformed_cookie_of_one_peer_fails_no_call_to_another(network):
    """The clients of all peers are one; these have one host, as members under one domain may."""
    node = network.members[0].node
    member = node.ledger.snapshot().state.members[network.members[1].address]

    def set_cookie(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=\xff; Path=/\r\nContent-Length: 5\r\nConnection: close\r\n\r\nother"
        )

    with server(set_cookie) as url:
        liar = replace(member, keys=(replace(member.current_keys, endpoint=url),))
        with pytest.raises(BlockCorruptError):
            PeerNode(liar, node.identity.request_key, node.records.peers._client).get(CID)
    with pytest.raises(BlockNotFoundError):
        node.records.peers.node(network.members[2].address).get(CID)


@pytest.mark.parametrize("error", [RecursionError, OverflowError, KeyError, MemoryError])
def test_attack_answer_that_breaks_its_parser_is_the_peers_failure(peer_at, monkeypatch, long_rest, error):
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    def break_down(_: bytes) -> None:
        raise error("secret words")

    monkeypatch.setattr(LostDepositsAnswer, "model_validate_json", break_down)
    with server(answer) as url, capture_logs() as logs:
        peer = peer_at(url)
        for _ in range(FAILURES):
            with pytest.raises(PeerFailed, match=f"Busan Hospital.*{error.__name__}"):
                peer.lost_deposits(LostDeposits(record_ids=(bytes(32),)))
        with pytest.raises(PeerFailed, match="did not answer lately"):
            peer.lost_deposits(LostDeposits(record_ids=(bytes(32),)))
    assert [(entry["member"], entry["kind"]) for entry in logs if entry.get("place") == "calls"] == [
        ("0x" + peer.address.hex(), error.__name__)
    ] * FAILURES
    assert "secret words" not in str(logs)


def test_peer_whose_refusal_is_no_problem_document_is_named(peer_at):
    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nboom")

    with server(refuse) as url, pytest.raises(PeerFailed, match="500"):
        peer_at(url).get(CID)


def test_peer_without_the_block_is_told_from_one_that_fails(network):
    own = network.members[0].node.records.peers
    with pytest.raises(BlockNotFoundError):
        own.node(network.members[1].address).get(CID)


@pytest.fixture
def read_case(network: Network) -> Case:
    case = Case.begin(network)
    case.publish()
    case.grant(network.members[1])
    return case


def lie(monkeypatch: pytest.MonkeyPatch, member: Member, change: Callable[[bytes], bytes]) -> None:
    """This member releases something else than its share, signed and sealed as it should be."""
    honest = member.node.records.custody.share
    monkeypatch.setattr(
        member.node.records.custody,
        "share",
        lambda deposit: (honest(deposit)[0], change(honest(deposit)[1])),
    )


def test_custodian_with_a_wrong_share_is_passed_over_while_others_suffice(read_case, monkeypatch):
    lie(monkeypatch, read_case.network.members[2], lambda share: secrets.token_bytes(32))
    (record,) = read_case.read(read_case.network.members[1]).records
    assert (record.failure, b"5.4" in record.content) == (None, True)


def test_custodians_with_wrong_shares_are_each_named_when_too_few_are_left(read_case, monkeypatch):
    liars = (read_case.network.members[0], read_case.network.members[2])
    for liar in liars:
        lie(monkeypatch, liar, lambda share: bytes(32))
    (record,) = read_case.read(read_case.network.members[1]).records
    assert record.reason is Reason.PERMITTED
    assert record.content is None
    for liar in liars:
        assert f"{liar.name} (0x{liar.address.hex()}) released a wrong share" in record.failure


def test_custodians_that_swap_their_shares_are_both_named(read_case, monkeypatch):
    first, second = read_case.network.members[0], read_case.network.members[2]
    record = next(
        record
        for record in first.node.ledger.snapshot().state.records.values()
        if record.patient == read_case.patient.address
    )
    shares = {}
    for member in (first, second):
        records = member.node.records
        held = records.deposits.find(record.record_id, record.header_digest)
        shares[member.address] = records.custody.share(held)[1]
    lie(monkeypatch, first, lambda _: shares[second.address])
    lie(monkeypatch, second, lambda _: shares[first.address])
    (read,) = read_case.read(read_case.network.members[1]).records
    assert read.content is None
    assert all(
        f"{member.name} (0x{member.address.hex()}) released a wrong share" in read.failure
        for member in (first, second)
    )


def test_custodian_with_a_foreign_header_is_refused_and_named(read_case, monkeypatch):
    liars = (read_case.network.members[0], read_case.network.members[2])
    for liar in liars:
        release = liar.node.records.release
        honest = release.release

        def lying(caller, request, honest=honest):
            answer = honest(caller, request)
            return answer.model_copy(
                update={"header_by_record": dict.fromkeys(answer.header_by_record, b"\xa0")}
            )

        monkeypatch.setattr(release, "release", lying)
    (record,) = read_case.read(read_case.network.members[1]).records
    # The reader's own custody gives the header; the liars' shares are good and their headers are not even looked at.
    assert (record.failure, b"5.4" in record.content) == (None, True)


def test_release_request_of_nothing_permitted_gives_nothing(network):
    node = network.members[0].node
    peer = node.records.peers.node(network.members[1].address)
    request = ReleaseRequest(
        patient=bytes(20),
        response_public_key=node.identity.current_encryption_key.public,
        items=(ReleaseItem(sequence=1, record_id=bytes(32)),),
    )
    (answer,) = peer.release(request).releases
    assert answer.sealed is None
    assert "final" in answer.refusal


def test_attack_garbage_with_status_200_counts_against_the_peer_as_silence_does(peer_at, long_rest):
    def garbage(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")

    item = ReleaseItem(sequence=1, record_id=bytes(32))
    request = ReleaseRequest(patient=bytes(20), response_public_key=bytes(1216), items=(item,))
    with server(garbage) as url:
        peer = peer_at(url)
        for _ in range(FAILURES):
            with pytest.raises(PeerFailed, match="is no ReleaseResponse"):
                peer.release(request)
        assert peer.is_ready()
        with pytest.raises(PeerFailed, match="did not answer lately"):
            peer.release(request)
