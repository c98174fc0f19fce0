"""A peer that is slow at one thing: its deposits hold up neither its other calls, nor its probes, nor memory."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from custody_world import CustodyWorld
from structlog.testing import capture_logs

from node.block_sources import FirstGood
from node.peer_node import PeerFailed
from node.peer_threads import DEPOSITS_AT_ONCE, MOST_WAITING, BoundedThreads
from node.peers import OwnCustodian, Peers
from node.unforeseen import UnforeseenFailures
from storage import BlockNotFoundError, Cid

WAIT_SECONDS = 60.0
BLOCK = b"the block"


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def peers(custody_world: CustodyWorld, go_on: threading.Event) -> Iterator[Peers]:
    world, node = custody_world, custody_world.custodian
    keys = world.state.members[world.third.address].keys
    # A port that nobody listens at.
    world.change_member(world.third, keys=(replace(keys[0], endpoint="http://127.0.0.1:1"),))
    own = OwnCustodian(node.identity, node.blocks, node.custody, node.release)
    made = Peers(node.ledger, node.identity.request_key, own)
    yield made
    go_on.set()
    made.close()


def test_deposits_that_take_for_ever_are_bounded_and_hold_up_no_other_call(peers, go_on, custody_world):
    slow = custody_world.third.address
    running = [
        peers.start_deposit(slow, lambda: go_on.wait(WAIT_SECONDS))
        for _ in range(DEPOSITS_AT_ONCE + MOST_WAITING)
    ]
    with pytest.raises(PeerFailed, match="too slow"):
        peers.start_deposit(slow, lambda: None)
    assert not peers.is_healthy(slow), "no new record may be given to it"
    assert peers.start(slow, lambda: "released").result(WAIT_SECONDS) == "released"
    go_on.set()
    assert all(each.result(WAIT_SECONDS) for each in running)
    assert peers.start_deposit(slow, lambda: "taken").result(WAIT_SECONDS) == "taken"


def test_peer_whose_threads_are_all_busy_is_probed_all_the_same(peers, go_on, custody_world):
    down = custody_world.third.address
    for start in (peers.start, peers.start_deposit):
        for _ in range(20):
            start(down, lambda: go_on.wait(WAIT_SECONDS))
    assert peers.is_healthy(down)
    peers.probe(WAIT_SECONDS)
    assert not peers.is_healthy(down)


def test_source_that_fails_as_nobody_foresaw_is_passed_over_and_written_down():
    class Broken:
        pool = None

        def get(self, cid: Cid) -> bytes:
            raise RecursionError("secret words")

    class Good:
        pool = None

        def get(self, cid: Cid) -> bytes:
            return BLOCK

    unforeseen = UnforeseenFailures()
    with capture_logs() as logs:
        assert FirstGood([Broken(), Good()], unforeseen).get(Cid.of(BLOCK)) == BLOCK
        with pytest.raises(BlockNotFoundError, match="RecursionError"):
            FirstGood([Broken()], unforeseen).get(Cid.of(BLOCK))
    assert unforeseen.by_place() == {"blocks": 2}
    assert [(entry["log_level"], entry["kind"]) for entry in logs] == [("error", "RecursionError")] * 2
    assert "secret words" not in str(logs)


def test_source_whose_threads_are_full_is_passed_over(go_on):
    class Source:
        def __init__(self, called: str, block: bytes | None = BLOCK) -> None:
            self.pool = BoundedThreads(1, called, most_waiting=0)
            self.block = block

        def get(self, cid: Cid) -> bytes:
            if self.block is None:
                raise BlockNotFoundError(f"no {cid}")
            return self.block

    full, good, none = Source("full"), Source("good"), Source("none", None)
    full.pool.submit(go_on.wait, WAIT_SECONDS)
    cid = Cid.of(BLOCK)
    assert FirstGood([full, good]).get(cid) == BLOCK
    with pytest.raises(BlockNotFoundError, match=r"too slow for more.*no bafk"):
        FirstGood([full, none]).get(cid)
    go_on.set()
    for source in (full, good, none):
        source.pool.close(wait=True)
