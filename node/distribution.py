"""Bringing sealed records to their custodians: blocks first, then the deposit, in parallel over custodians.

A custodian counts when it acknowledged all that it must hold of a publication. The caller goes on when enough of
them did; the rest goes on behind it, and what failed is repaired later from the journal.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass

from crypto.statement import sign_statement
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, OwnKeys
from node.errors import NodeError
from node.peers import Custodian, PeerFailed, Peers, check_receipt
from node.publish_journal import JournalPublication, JournalRecord, PublishJournal, WaitingDeposit
from storage import Cid, StorageError, unixfs
from wire.custody import DEPOSIT_LABEL, DepositRequest, deposit_statement

WAIT_SECONDS = 30.0
"""How long a publication waits for its custodians before it says so and goes on trying in the background."""
REST_SECONDS = 10.0
"""How long a custodian that did not answer is left alone, so that it cannot hold up work for the others."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many custodians hold everything, and why others do not (in words, by member)."""

    complete: int
    failures: tuple[str, ...]


class Distributor:
    """Deposits records with custodians; ``pool`` runs one job for each custodian of a publication."""

    def __init__(
        self,
        keys: OwnKeys,
        peers: Peers,
        blocks: BlockService,
        journal: PublishJournal,
        pool: Executor,
        *,
        clock: Clock = SYSTEM_CLOCK,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._peers = peers
        self._blocks = blocks
        self._journal = journal
        self._pool = pool
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running: dict[tuple[bytes, frozenset[bytes]], Future[None]] = {}
        self._resting_until: dict[bytes, float] = {}

    def distribute(
        self, publication: JournalPublication, enough: int, wait_seconds: float = WAIT_SECONDS
    ) -> Distribution:
        """Deposits what is waiting; returns when ``enough`` custodians hold everything, or none is left to wait for."""
        records = {record.record_id: record for record in publication.records}
        waiting: dict[bytes, list[WaitingDeposit]] = {}
        for each in self._journal.waiting(records):
            waiting.setdefault(each.custodian, []).append(each)
        failures: list[str] = []
        futures: dict[Future[None], bytes] = {}
        for custodian, shares in waiting.items():
            if self._rests(custodian):
                failures.append(
                    f"custodian 0x{custodian.hex()} did not answer lately and is tried again soon"
                )
                continue
            wanted = [(records[share.record_id], share.share_index) for share in shares]
            futures[self._start(custodian, wanted, publication.deadline)] = custodian
        everyone = {entry for held in self._journal.acknowledged(records).values() for entry in held}
        complete = len(everyone - set(waiting))
        deadline = self._monotonic() + wait_seconds
        pending = set(futures)
        while pending and complete < enough and self._monotonic() < deadline:
            done, pending = wait(
                pending, timeout=max(0.0, deadline - self._monotonic()), return_when=FIRST_COMPLETED
            )
            for future in done:
                if error := future.exception():
                    failures.append(str(error))
                else:
                    complete += 1
        failures += [f"custodian 0x{futures[future].hex()} has not answered yet" for future in pending]
        return Distribution(complete, tuple(failures))

    def _rests(self, custodian: bytes) -> bool:
        with self._lock:
            return self._monotonic() < self._resting_until.get(custodian, 0.0)

    def _start(
        self, custodian: bytes, wanted: Sequence[tuple[JournalRecord, int]], deadline: int
    ) -> Future[None]:
        """One job at a time for the same shares of one custodian: a second caller waits for the first one's."""
        key = (custodian, frozenset(record.header_digest for record, _ in wanted))
        with self._lock:
            if running := self._running.get(key):
                return running
            future = self._pool.submit(self._deposit_all, custodian, wanted, deadline)
            self._running[key] = future
        future.add_done_callback(lambda _: self._ended(key))
        return future

    def _ended(self, key: tuple[bytes, frozenset[bytes]]) -> None:
        with self._lock:
            self._running.pop(key, None)

    def _deposit_all(
        self, address: bytes, wanted: Sequence[tuple[JournalRecord, int]], deadline: int
    ) -> None:
        try:
            custodian = self._peers.custodian(address)
            for record, share_index in wanted:
                self._deposit(custodian, record, share_index, deadline)
        except PeerFailed:
            with self._lock:
                self._resting_until[address] = self._monotonic() + REST_SECONDS
            raise
        except StorageError as error:
            raise NodeError(f"this node's own block store failed while depositing: {error}") from error

    def _deposit(self, custodian: Custodian, record: JournalRecord, share_index: int, deadline: int) -> None:
        if custodian.address != self._keys.address:
            store = self._blocks.store
            for cid in unixfs.blocks_of(store, Cid.parse(record.ciphertext_cid)):
                custodian.put_block(cid, store.get(cid))
        custody_wrap = record.custody_wraps[share_index - 1]
        statement = deposit_statement(
            custodian.address,
            record.header,
            share_index,
            record.owner_wrap,
            record.consent_wrap,
            custody_wrap,
            deadline,
        )
        request = DepositRequest(
            header=record.header,
            share_index=share_index,
            owner_wrap=record.owner_wrap,
            consent_wrap=record.consent_wrap,
            custody_wrap=custody_wrap,
            deadline=deadline,
            signature=sign_statement(self._keys.account, DEPOSIT_LABEL, statement),
        )
        receipt = custodian.deposit(request)
        check_receipt(receipt, request, record.header_digest, custodian.address)
        self._journal.acknowledge(
            record.record_id,
            record.header_digest,
            custodian.address,
            receipt.signature,
            int(self._clock()),
        )
