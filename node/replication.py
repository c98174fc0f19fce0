"""Finds and heals what this custodian lacks of what it must hold, a little at each turn.

Every record on the ledger is looked at: once, to learn from its header whether this node is one of its custodians;
and where it is, again and again. What can be healed, and what cannot:

- blocks of the ciphertext: from any other custodian or the author, each block hashed here;
- the deposit, by the author alone, and only until every custodian has acknowledged its own: after that nobody else
  has this custodian's share, by design (a deleted wrap must be gone). Then the record lives on with one custodian
  fewer; its author's status says so, and publishing it anew, or this node's database from a backup, mends it.

What no deposit needs is not fetched: it would pass no check of a deposit's, and whoever publishes could fill this
disk with it. A deposit that comes again brings its blocks.

Cheap when all is well: names are compared, a few blocks are read and hashed, nothing goes over the network.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import structlog

from crypto.errors import CryptoError
from crypto.header import read_header
from ledger.entities import Record
from node.block_sources import FirstGood
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, Ledger, OwnKeys
from node.errors import NodeError
from node.peer_node import PeerNode
from node.peers import Custodian, Peers
from node.release import identity_of
from node.replica_store import ReplicaState, ReplicaStore
from storage import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockSource,
    Cid,
    Codec,
    StorageError,
    check_block,
    missing,
)
from vocabulary import Role
from wire.custody import LostDeposits
from wire.limits import RECORDS_PER_REQUEST

CHECK_AGAIN_SECONDS = 900
"""How long what was found whole is not looked at again."""
TRY_AGAIN_SECONDS = 60
"""How long a record in trouble waits for the next attempt."""
TURN_SECONDS = 3.0
BATCH = 200
NEW_AT_ONCE = 5000
READ_AT_ONCE = 4
"""How many blocks of each batch are read and hashed, not only looked for."""
_log = structlog.get_logger("node.replication")


@dataclass(frozen=True, slots=True)
class ReplicationReport:
    """How this node's replicas are, and those of the records that it published."""

    by_state: Mapping[ReplicaState, int]
    to_check: int
    """Records that were not looked at for longer than they should be."""
    last_run_at: int | None
    """When the last turn ended, POSIX seconds; None before the first."""
    published: int
    published_under_replicated: int
    """Own records that some custodian does not hold, as far as this node was told."""
    asked_again: Mapping[bytes, int]
    """How many deposits each custodian said to have lost, and gets again, since this node's start."""


class _TurnOver(Exception):
    """The turn's time is up; what was fetched stays, the next turn goes on there."""


class Replication:
    """The repair task of one node; ``turn`` is called at intervals."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        blocks: BlockService,
        store: ReplicaStore,
        peers: Peers,
        *,
        clock: Clock = SYSTEM_CLOCK,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._blocks = blocks
        self._store = store
        self._peers = peers
        self._clock = clock
        self._monotonic = monotonic
        self._started_at = int(clock())
        self._turning = threading.Lock()
        self._known: set[bytes] | None = None
        self._last_run_at: int | None = None

    def turn(self) -> int:
        """Looks at what is due for at most ``TURN_SECONDS``; returns how many records it looked at.

        What is found of a record is noted at once; one thread at a time turns, others wait.
        """
        with self._turning:
            until = self._monotonic() + TURN_SECONDS
            looked_at = 0
            while True:
                due = self._store.due(*self._due_before(), BATCH)
                count = self._check(due, until)
                looked_at += count
                # Asked last: every turn looks at something, however busy the machine is.
                if not due or count < len(due) or self._monotonic() >= until:
                    break
            # Last: a record that is new on the ledger gets one turn's time for the deposit that follows it.
            self._take_new()
            self._last_run_at = int(self._clock())
            return looked_at

    def told_lost(self, custodian: bytes, record_ids: Sequence[bytes]) -> set[bytes]:
        """A custodian of own records has its deposits no more: returns those that are deposited again, soon."""
        return self._store.told_lost(custodian, record_ids, int(self._clock()))

    def report(self) -> ReplicationReport:
        """How the replicas are."""
        published, under_replicated = self._store.published(int(self._clock()))
        return ReplicationReport(
            by_state=self._store.counts(),
            to_check=self._store.count_due(*self._due_before()),
            last_run_at=self._last_run_at,
            published=published,
            published_under_replicated=under_replicated,
            asked_again=dict(self._store.asked_again),
        )

    def _due_before(self) -> tuple[int, int]:
        now = int(self._clock())
        # What was whole before a restart may be gone: while the node was down anything may have happened. The second of
        # the start counts as before it.
        return max(now - CHECK_AGAIN_SECONDS, self._started_at + 1), now - TRY_AGAIN_SECONDS

    def _take_new(self) -> None:
        records = self._ledger.snapshot().state.records
        if self._known is None:
            self._known = self._store.known()
        if len(records) == len(self._known):
            return
        known = self._known
        new = list(islice((record_id for record_id in records if record_id not in known), NEW_AT_ONCE))
        if new:
            self._store.add(new)
            self._known.update(new)

    def _check(self, due: Mapping[bytes, ReplicaState], until: float) -> int:
        """Looks at as many of these records, of which is given what was last found, as the time allows; how many."""
        records = self._ledger.snapshot().state.records
        here = {key: records[key] for key in due if key in records}
        held = self._store.held({key: record.header_digest for key, record in here.items()})
        absent = self._missing({key: tuple(map(Cid.parse, cids)) for key, cids in held.items()})
        found = {key: ReplicaState.FULL for key, cids in absent.items() if not cids}
        # Before anyone is asked: what is whole does not wait for what a slow peer must heal.
        self._note(found)
        lost: dict[bytes, list[bytes]] = {}
        is_over = _TurnEnd(lambda: self._monotonic() >= until)
        for record_id, record in here.items():
            if record_id in found:
                continue
            try:
                if record_id in absent:
                    state = self._heal_blocks(record, absent[record_id], self._others(record, is_over))
                elif due[record_id] is ReplicaState.UNKNOWN:
                    state = self._look_at_header(record, self._others(record, is_over))
                else:
                    state = ReplicaState.WRAPS_MISSING
            except _TurnOver:
                break
            except Exception as error:  # noqa: BLE001 - one record that cannot be dealt with must not end every turn
                self._peers.unforeseen.note("replication", error, record=_short(record))
                state = ReplicaState.BLOCKS_MISSING if record_id in absent else due[record_id]
            found[record_id] = state
            self._note({record_id: state})
            if state is ReplicaState.WRAPS_MISSING:
                lost.setdefault(record.author, []).append(record_id)
        for author, record_ids in lost.items():
            self._tell_author(author, record_ids)
        return len(found)

    def _note(self, found: Mapping[bytes, ReplicaState]) -> None:
        if found:
            self._store.note(found, int(self._clock()))

    def _missing(self, needed: Mapping[bytes, tuple[Cid, ...]]) -> dict[bytes, tuple[Cid, ...]]:
        """The blocks of each record that are not here; a few, at random, are read to see whether they are whole."""
        store = self._blocks.store
        every = {cid for cids in needed.values() for cid in cids}
        absent = set(missing(store, every))
        for cid in random.sample(sorted(every), min(READ_AT_ONCE, len(every))):
            try:
                store.get(cid)
            except (BlockNotFoundError, BlockCorruptError):
                absent.add(cid)
        return {key: tuple(cid for cid in cids if cid in absent) for key, cids in needed.items()}

    def _heal_blocks(self, record: Record, absent: Sequence[Cid], source: BlockSource) -> ReplicaState:
        try:
            for cid in absent:
                block = source.get(cid)
                # The node's reserve of disk is the database's.
                self._blocks.require_room(len(block))
                self._blocks.put_many(self._keys.address, [(cid, block)])
        except (StorageError, NodeError) as error:
            _log.warning("a replica could not be healed", record=_short(record), kind=type(error).__name__)
            return ReplicaState.BLOCKS_MISSING
        _log.info("a replica was healed", record=_short(record), blocks=len(absent))
        return ReplicaState.FULL

    def _look_at_header(self, record: Record, source: BlockSource) -> ReplicaState:
        """Whether a record of which there is no deposit here should have one: its header, not kept, tells."""
        cid = Cid.from_parts(Codec.RAW, record.header_digest)
        try:
            data = check_block(cid, source.get(cid))
            header = read_header(data, record.header_digest, identity_of(self._ledger.scope, record))
        except (StorageError, NodeError, CryptoError):
            return ReplicaState.UNKNOWN
        named = {entry.address for entry in header.custodians}
        return ReplicaState.WRAPS_MISSING if self._keys.address in named else ReplicaState.ELSEWHERE

    def _others(self, record: Record, is_over: "_TurnEnd") -> BlockSource:
        """The author and the other custodians as sources, until the turn is over; who is healthy comes first."""
        members = self._ledger.snapshot().state.members
        custodians = [address for address, each in members.items() if each.roles & Role.CUSTODIAN.bit]
        addresses = dict.fromkeys([record.author, *custodians])
        addresses.pop(self._keys.address, None)
        ordered = sorted(addresses, key=lambda address: not self._peers.is_healthy(address))
        sources: list[Custodian | PeerNode] = [self._peers.custodian(address) for address in ordered]
        return _UntilTurnEnds(FirstGood(sources, self._peers.unforeseen), is_over)

    def _tell_author(self, author: bytes, record_ids: Sequence[bytes]) -> None:
        """Tells it behind this turn, which waits for no author's answer; what is lost is told again while it is."""
        for some in _pieces(record_ids, RECORDS_PER_REQUEST):
            if author == self._keys.address:
                self.told_lost(author, some)
                continue
            try:
                self._peers.start(author, partial(self._tell, author, LostDeposits(record_ids=tuple(some))))
            except NodeError as error:
                _log.warning("an author cannot be told what is gone here", kind=type(error).__name__)

    def _tell(self, author: bytes, lost: LostDeposits) -> None:
        called = "0x" + author.hex()
        try:
            coming = len(self._peers.node(author).lost_deposits(lost).coming)
        except NodeError as error:
            _log.warning("an author cannot be told", author=called, kind=type(error).__name__)
            return
        _log.warning("deposits are gone here", author=called, records=len(lost.record_ids), coming=coming)


class _TurnEnd:
    """Tells when a turn's time is up; never before its first question, so that every turn comes further."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._asked = False

    def check(self) -> None:
        """Raises ``_TurnOver``."""
        if self._asked and self._is_over():
            raise _TurnOver
        self._asked = True


class _UntilTurnEnds:
    """A source that ends the turn when its time is up, before it asks anyone."""

    def __init__(self, source: BlockSource, is_over: _TurnEnd) -> None:
        self._source = source
        self._is_over = is_over

    def get(self, cid: Cid) -> bytes:
        """As ``storage.BlockSource.get``."""
        self._is_over.check()
        return self._source.get(cid)


def _pieces(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _short(record: Record) -> str:
    return "0x" + record.record_id.hex()[:16]
