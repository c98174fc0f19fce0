"""Finds and heals what this custodian lacks of what it must hold, a little at each turn.

Every record on the ledger is looked at: once, to learn from its header whether this node is one of its custodians;
and where it is, again and again. What can be healed, and what cannot:

- blocks of the ciphertext, and the header: from any other custodian or the author, each block hashed here;
- the wraps, by the author alone, and only until every custodian has acknowledged its own: after that nobody else
  has this custodian's share, by design (a deleted wrap must be gone). Then the record lives on with one custodian
  fewer; its author's status says so, and publishing it anew, or this node's database from a backup, mends it.

Cheap when all is well: names are compared, a few blocks are read and hashed, nothing goes over the network.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog

from crypto.errors import CryptoError
from crypto.header import Header, read_header
from crypto.streamed_payload import largest_ciphertext_bytes
from ledger.entities import Record
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, Ledger, OwnKeys
from node.errors import NodeError
from node.peer_node import PeerNode
from node.peers import Custodian, FirstGood, Peers
from node.release import identity_of
from node.replica_store import ReplicaState, ReplicaStore
from storage import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockSource,
    Cid,
    Codec,
    StorageError,
    missing,
    unixfs,
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


class _TurnOver(Exception):
    """The turn's time is up; what was fetched stays, the next turn goes on there."""


class Replication:
    """The repair task of one node; ``turn`` is called at intervals, by one thread."""

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
        self._known: set[bytes] | None = None
        self._last_run_at: int | None = None

    def turn(self) -> int:
        """Looks at what is due for at most ``TURN_SECONDS``; returns how many records it looked at."""
        until = self._monotonic() + TURN_SECONDS
        looked_at = 0
        while self._monotonic() < until:
            due = self._store.due(*self._due_before(), BATCH)
            if not due:
                break
            found = self._check(due, until)
            self._store.note(found, int(self._clock()))
            looked_at += len(found)
            if len(found) < len(due):
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
        )

    def _due_before(self) -> tuple[int, int]:
        now = int(self._clock())
        # What was whole before a restart may be gone: while the node was down anything may have happened.
        return max(now - CHECK_AGAIN_SECONDS, self._started_at), now - TRY_AGAIN_SECONDS

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

    def _check(self, due: Sequence[bytes], until: float) -> dict[bytes, ReplicaState]:
        """The states of as many of these records as the time allows."""
        records = self._ledger.snapshot().state.records
        here = {key: records[key] for key in due if key in records}
        held = self._store.held({key: record.header_digest for key, record in here.items()})
        absent = self._missing({key: tuple(map(Cid.parse, cids)) for key, cids in held.items()})
        found = {key: ReplicaState.FULL for key, cids in absent.items() if not cids}
        lost: dict[bytes, list[bytes]] = {}
        for record_id, record in here.items():
            if record_id in found:
                continue
            try:
                if record_id in absent:
                    found[record_id] = self._heal_blocks(record, absent[record_id], until)
                else:
                    found[record_id] = self._heal_without_deposit(record, until)
            except _TurnOver:
                break
            if found[record_id] is ReplicaState.WRAPS_MISSING:
                lost.setdefault(record.author, []).append(record_id)
        for author, record_ids in lost.items():
            self._tell_author(author, record_ids)
        return found

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

    def _heal_blocks(self, record: Record, absent: Sequence[Cid], until: float) -> ReplicaState:
        source = self._others(record, until)
        try:
            for cid in absent:
                _keep(self._blocks, self._keys.address, cid, source.get(cid))
        except (StorageError, NodeError) as error:
            _log.warning("a replica could not be healed", record=_short(record), kind=type(error).__name__)
            return ReplicaState.BLOCKS_MISSING
        _log.info("a replica was healed", record=_short(record), blocks=len(absent))
        return ReplicaState.FULL

    def _heal_without_deposit(self, record: Record, until: float) -> ReplicaState:
        source = self._others(record, until)
        header_cid = Cid.from_parts(Codec.RAW, record.header_digest)
        try:
            data = _HereFirst(self._blocks, source, self._keys.address).get(header_cid)
            header = read_header(data, record.header_digest, identity_of(self._ledger.scope, record))
        except (StorageError, NodeError, CryptoError):
            return ReplicaState.UNKNOWN
        if self._keys.address not in {entry.address for entry in header.custodians}:
            return ReplicaState.ELSEWHERE
        try:
            self._fetch_all(header, source)
        except (StorageError, NodeError) as error:
            _log.warning("a ciphertext could not be had", record=_short(record), kind=type(error).__name__)
        return ReplicaState.WRAPS_MISSING

    def _fetch_all(self, header: Header, source: BlockSource) -> None:
        """Ciphertext and header at least: they count as a replica for whoever has shares."""
        limit_bytes = largest_ciphertext_bytes(header.streamed)
        if header.ciphertext_size > limit_bytes:
            raise NodeError(
                f"author 0x{header.identity.author.hex()} named a ciphertext of {header.ciphertext_size} bytes, "
                f"of at most {limit_bytes}"
            )
        here = _HereFirst(self._blocks, source, self._keys.address)
        root = Cid.parse(header.ciphertext_cid)
        cids = list(unixfs.blocks_of(here, root, limit_bytes=header.ciphertext_size))
        for cid in cids:
            if not self._blocks.store.has(cid):
                here.get(cid)
        with self._blocks.referring(header.digest, [*cids, Cid.from_parts(Codec.RAW, header.digest)]):
            pass

    def _others(self, record: Record, until: float) -> "BlockSource":
        """The author and the other custodians as sources, until the turn is over; who is healthy comes first."""
        members = self._ledger.snapshot().state.members
        custodians = [address for address, each in members.items() if each.roles & Role.CUSTODIAN.bit]
        addresses = dict.fromkeys([record.author, *custodians])
        addresses.pop(self._keys.address, None)
        ordered = sorted(addresses, key=lambda address: not self._peers.is_healthy(address))
        sources: list[Custodian | PeerNode] = [self._peers.custodian(address) for address in ordered]
        return _UntilTurnEnds(FirstGood(sources), lambda: self._monotonic() >= until)

    def _tell_author(self, author: bytes, record_ids: Sequence[bytes]) -> None:
        try:
            for some in _pieces(record_ids, RECORDS_PER_REQUEST):
                if author == self._keys.address:
                    coming = self.told_lost(author, some)
                else:
                    answer = self._peers.node(author).lost_deposits(LostDeposits(record_ids=tuple(some)))
                    coming = set(answer.coming)
                _log.warning(
                    "deposits are gone here",
                    author="0x" + author.hex(),
                    records=len(some),
                    coming=len(coming),
                )
        except NodeError as error:
            _log.warning("an author cannot be told what is gone here", kind=type(error).__name__)


def _keep(blocks: BlockService, own: bytes, cid: Cid, block: bytes) -> None:
    """Keeps a block above the node's reserve of disk, which the database needs; raises StoreIsFull."""
    blocks.require_room(len(block))
    blocks.put_many(own, [(cid, block)])


class _HereFirst:
    """The own store, and another source for what it lacks, which is kept at once."""

    def __init__(self, blocks: BlockService, source: BlockSource, own: bytes) -> None:
        self._blocks = blocks
        self._source = source
        self._own = own

    def get(self, cid: Cid) -> bytes:
        """As ``storage.BlockSource.get``."""
        try:
            return self._blocks.store.get(cid)
        except (BlockNotFoundError, BlockCorruptError):
            block = self._source.get(cid)
            _keep(self._blocks, self._own, cid, block)
            return block


class _UntilTurnEnds:
    """A source that ends the turn when its time is up, before it asks anyone."""

    def __init__(self, source: BlockSource, is_over: Callable[[], bool]) -> None:
        self._source = source
        self._is_over = is_over

    def get(self, cid: Cid) -> bytes:
        """As ``storage.BlockSource.get``."""
        if self._is_over():
            raise _TurnOver
        return self._source.get(cid)


def _pieces(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _short(record: Record) -> str:
    return "0x" + record.record_id.hex()[:16]
