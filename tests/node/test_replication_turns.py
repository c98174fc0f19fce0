"""One turn of repairs over peers that a test plays: what is noted when, what is asked for, and what is not."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from custody_world import CustodyWorld, Sealed
from sqlalchemy import select

from crypto.binding import RecordIdentity
from crypto.header import Header, read_header
from node import replication
from node.errors import UpstreamFailed
from node.replica_store import ReplicaState, ReplicaStore
from node.replication import Replication
from node.tables_custody import block_arrivals, block_references
from node.tables_replication import replica_checks
from node.unforeseen import UnforeseenFailures
from storage import BlockNotFoundError, Cid, Codec
from wire.custody import LostDeposits, LostDepositsAnswer


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


class PlayedPeers:
    """Every other member: gives what it was given, remembers what it was asked, and can be held up at a block."""

    def __init__(self) -> None:
        self.unforeseen = UnforeseenFailures()
        self.given: dict[Cid, bytes] = {}
        self.asked: list[Cid] = []
        self.told: list[bytes] = []
        self.held_up: set[Cid] = set()
        self.go_on = threading.Event()
        self.under_way = self.most_under_way = 0
        self.author_answers = threading.Event()
        self.author_answers.set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def give(self, sealed: Sealed) -> None:
        self.given |= {cid: sealed.blocks.get(cid) for cid in sealed.blocks.cids()}
        self.given[header_cid(sealed)] = sealed.record.header_bytes

    def is_healthy(self, _: bytes) -> bool:
        return True

    def custodian(self, _: bytes) -> "PlayedPeers":
        return self

    def node(self, _: bytes) -> "PlayedPeers":
        return self

    def start(self, _: bytes, call: Callable[[], object]) -> Future[object]:
        future: Future[object] = Future()
        self._threads.append(threading.Thread(target=lambda: future.set_result(call())))
        self._threads[-1].start()
        return future

    def get(self, cid: Cid) -> bytes:
        with self._lock:
            self.asked.append(cid)
            self.under_way += 1
            self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            if cid in self.held_up:
                assert self.go_on.wait(60)
            if cid not in self.given:
                raise BlockNotFoundError(f"no {cid}")
            return self.given[cid]
        finally:
            with self._lock:
                self.under_way -= 1

    def lost_deposits(self, lost: LostDeposits) -> LostDepositsAnswer:
        if not self.author_answers.wait(60):
            raise UpstreamFailed("silent")
        self.told += lost.record_ids
        return LostDepositsAnswer(coming=())

    def end(self) -> None:
        self.go_on.set()
        self.author_answers.set()
        for thread in self._threads:
            thread.join()


def header_cid(sealed: Sealed) -> Cid:
    return Cid.from_parts(Codec.RAW, sealed.record.header.digest)


class Repairs:
    """The repairs of the world's custodian, over played peers."""

    def __init__(self, world: CustodyWorld) -> None:
        self.world = world
        self.peers = PlayedPeers()
        node = world.custodian
        self.replication = Replication(
            node.identity, node.ledger, node.blocks, ReplicaStore(node.database), self.peers, clock=node.clock
        )

    def new_record(self, content: bytes, *, deposited: bool = True) -> Sealed:
        sealed = self.world.seal(content)
        if deposited:
            self.world.deposit(self.world.custodian, sealed)
        self.world.land(sealed)
        self.peers.give(sealed)
        return sealed

    def lose_blocks(self, sealed: Sealed) -> list[Cid]:
        cids = list(sealed.blocks.cids())
        for cid in cids:
            self.world.custodian.store.delete(cid)
        return cids

    def states(self) -> dict[bytes, ReplicaState]:
        with self.world.custodian.database.read() as connection:
            rows = connection.execute(select(replica_checks)).all()
            return {bytes(row.record_id): ReplicaState(row.state) for row in rows}

    def turn(self) -> None:
        """After so long that everything is due once more."""
        self.world.custodian.clock.seconds += 1000
        self.replication.turn()

    def turn_elsewhere(self) -> threading.Thread:
        self.world.custodian.clock.seconds += 1000
        thread = threading.Thread(target=self.replication.turn)
        thread.start()
        return thread


@pytest.fixture
def repairs(custody_world: CustodyWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repairs]:
    monkeypatch.setattr(replication, "TURN_SECONDS", 600.0)
    made = Repairs(custody_world)
    yield made
    made.peers.end()


def test_turn_that_waits_for_a_slow_heal_has_noted_what_was_whole_and_what_healed_before(repairs):
    whole = repairs.new_record(b"whole")
    first, second = sorted(
        (repairs.new_record(b"%d" % each) for each in range(2)), key=lambda one: one.record_id
    )
    repairs.turn()
    repairs.lose_blocks(first)
    repairs.peers.held_up |= set(repairs.lose_blocks(second))
    turning = repairs.turn_elsewhere()
    wait_until(lambda: repairs.peers.held_up <= set(repairs.peers.asked))
    found = repairs.states()
    assert (found[whole.record_id], found[first.record_id]) == (ReplicaState.FULL, ReplicaState.FULL)
    assert found[second.record_id] is ReplicaState.UNKNOWN
    repairs.peers.go_on.set()
    turning.join(60)
    assert set(repairs.states().values()) == {ReplicaState.FULL}


def test_turns_of_two_threads_at_once_go_one_after_the_other(repairs):
    sealed = repairs.new_record(b"one")
    repairs.turn()
    repairs.peers.held_up |= set(repairs.lose_blocks(sealed))
    turning = [repairs.turn_elsewhere() for _ in range(2)]
    wait_until(lambda: repairs.peers.asked != [])
    repairs.peers.go_on.set()
    for each in turning:
        each.join(60)
    # The second found it whole: each block was asked for once.
    assert sorted(repairs.peers.asked) == sorted(sealed.blocks.cids())
    assert set(repairs.states().values()) == {ReplicaState.FULL}


def test_turn_whose_time_went_into_looking_still_fetches_a_block(repairs, monkeypatch):
    sealed = repairs.new_record(b"one")
    repairs.turn()
    (cid,) = repairs.lose_blocks(sealed)
    seconds = iter(range(0, 10**6, 10_000))
    monkeypatch.setattr(repairs.replication, "_monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(replication, "TURN_SECONDS", 15_000.0)
    repairs.turn()
    assert repairs.peers.asked == [cid]
    assert repairs.world.custodian.store.has(cid)


def test_attack_record_that_breaks_a_library_ends_no_turn_and_hinders_no_other_record(repairs, monkeypatch):
    honest = read_header

    def break_at_poison(data: bytes, digest: bytes, identity: RecordIdentity) -> Header:
        if digest == poison.record.header.digest:
            raise RecursionError("secret words")
        return honest(data, digest, identity)

    others = [repairs.new_record(b"%d" % each) for each in range(2)]
    poison = repairs.new_record(b"poison", deposited=False)
    monkeypatch.setattr(replication, "read_header", break_at_poison)
    repairs.turn()
    for other in others:
        repairs.lose_blocks(other)
    repairs.turn()
    found = repairs.states()
    assert {found[other.record_id] for other in others} == {ReplicaState.FULL}
    assert found[poison.record_id] is ReplicaState.UNKNOWN
    assert repairs.peers.unforeseen.by_place() == {"replication": 1}
    repairs.turn()
    assert repairs.peers.unforeseen.by_place() == {"replication": 2}


def test_attack_ciphertext_without_a_deposit_is_neither_fetched_nor_kept(repairs):
    """A provider publishes records that name this custodian, deposits none, and serves the blocks."""
    sealed = repairs.new_record(b"x" * 3_000_000, deposited=False)
    for _ in range(3):
        repairs.turn()
    assert repairs.states() == {sealed.record_id: ReplicaState.WRAPS_MISSING}
    # The header once, since it names the custodians; not again once that is known.
    assert repairs.peers.asked == [header_cid(sealed)]
    assert list(repairs.world.custodian.store.cids()) == []
    with repairs.world.custodian.database.read() as connection:
        assert connection.execute(select(block_references)).all() == []
        assert connection.execute(select(block_arrivals)).all() == []
    wait_until(lambda: set(repairs.peers.told) == {sealed.record_id})


def test_attack_author_that_is_silent_when_told_of_a_loss_holds_up_no_turn(repairs):
    lost = repairs.new_record(b"lost", deposited=False)
    repairs.turn()
    repairs.peers.author_answers.clear()
    repairs.turn()
    whole = repairs.new_record(b"whole")
    repairs.turn()
    repairs.turn()
    assert repairs.states() == {
        lost.record_id: ReplicaState.WRAPS_MISSING,
        whole.record_id: ReplicaState.FULL,
    }
    assert repairs.peers.told == []
    repairs.peers.author_answers.set()
    wait_until(lambda: set(repairs.peers.told) == {lost.record_id})
