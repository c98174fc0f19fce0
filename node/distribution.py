"""Bringing sealed records to their custodians: blocks first, then the deposit, in parallel over custodians.

A custodian counts when it acknowledged all that it must hold of a publication. The caller goes on when enough of
them did; the rest goes on behind it, and what failed is repaired later from the journal.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial

from crypto.errors import CryptoError
from crypto.statement import sign_statement, verify_statement
from node.blocks import BlockService
from node.collaborators import SYSTEM_CLOCK, Clock, OwnKeys
from node.errors import NodeError, PeerFailed, PeerRefused
from node.peers import Custodian, Peers
from node.publication_entries import JournalPublication, JournalRecord, WaitingDeposit
from node.publish_journal import PublishJournal
from node.sent_blocks import SentBlocks
from storage import Cid, StorageError, unixfs
from wire.custody import (
    DEPOSIT_LABEL,
    DEPOSIT_RECEIPT_LABEL,
    DeliveredBlock,
    DepositBatch,
    DepositReceipt,
    DepositRequest,
    deposit_receipt_statement,
    deposit_statement,
)
from wire.limits import DEPOSITS_PER_REQUEST

WAIT_SECONDS = 30.0
"""How long a publication waits for its custodians before it says so and goes on trying in the background."""
BLOCK_BYTES_IN_BATCH = 2 * 1024 * 1024
"""How many bytes of blocks go along with their deposits in one request; in base64 they fit ``DEPOSIT_BYTES``."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many custodians hold everything, and why others do not (in words, by member)."""

    complete: int
    failures: tuple[str, ...]


class Distributor:
    """Deposits records with custodians: one job for each custodian of a publication, in the threads kept for it."""

    def __init__(
        self,
        keys: OwnKeys,
        peers: Peers,
        blocks: BlockService,
        journal: PublishJournal,
        *,
        clock: Clock = SYSTEM_CLOCK,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._peers = peers
        self._blocks = blocks
        self._journal = journal
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running: dict[tuple[bytes, frozenset[bytes]], Future[None]] = {}
        self._sent = SentBlocks(monotonic)

    def distribute(
        self,
        publication: JournalPublication,
        enough: int,
        wait_seconds: float = WAIT_SECONDS,
        *,
        leave_out: Collection[bytes] = (),
    ) -> Distribution:
        """Deposits what is waiting, but with none of ``leave_out``; returns when ``enough`` custodians hold everything,
        or none is left to wait for."""
        records = {record.record_id: record for record in publication.records}
        waiting: dict[bytes, list[WaitingDeposit]] = {}
        for each in self._journal.waiting(records):
            waiting.setdefault(each.custodian, []).append(each)
        failures: list[str] = []
        futures: dict[Future[None], bytes] = {}
        for custodian, shares in waiting.items():
            if custodian in leave_out:
                continue
            wanted = [(records[share.record_id], share.share_index) for share in shares]
            try:
                futures[self._start(custodian, wanted, publication.deadline)] = custodian
            except NodeError as refused:
                failures.append(f"{self._peers.called(custodian)}: {refused.detail}")
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
        failures += [f"{self._peers.called(futures[future])} has not answered yet" for future in pending]
        return Distribution(complete, tuple(failures))

    def _start(
        self, custodian: bytes, wanted: Sequence[tuple[JournalRecord, int]], deadline: int
    ) -> Future[None]:
        """One job at a time for the same shares of one custodian: a second caller waits for the first one's."""
        key = (custodian, frozenset(record.header_digest for record, _ in wanted))
        with self._lock:
            if running := self._running.get(key):
                return running
            future = self._peers.start_deposit(
                custodian, partial(self._deposit_all, custodian, wanted, deadline)
            )
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
            for batch in self._batches(custodian, wanted):
                try:
                    self._deposit(custodian, batch, deadline)
                except PeerRefused as refused:
                    if refused.refusal == "blocks-missing":
                        self._sent.forget(address, batch.sent)
                    raise
                self._sent.forget(address, batch.sent)
        except StorageError as error:
            raise NodeError(f"this node's own block store failed while depositing: {error}") from error
        except NodeError:
            raise
        except Exception as error:
            self._peers.unforeseen.note("deposits", error, custodian="0x" + address.hex())
            raise PeerFailed(
                f"{self._peers.called(address)}: this node stumbled over its deposit: {type(error).__name__}"
            ) from error

    def _batches(
        self, custodian: Custodian, wanted: Sequence[tuple[JournalRecord, int]]
    ) -> Iterator["_Batch"]:
        """Deposits that fit one request, with their blocks; a ciphertext of several blocks goes ahead of it."""
        batch = _Batch()
        for record, share_index in wanted:
            blocks, sent = [], []
            if custodian.address != self._keys.address:
                store = self._blocks.store
                cids = list(unixfs.blocks_of(store, Cid.parse(record.ciphertext_cid)))
                if len(cids) == 1 and record.ciphertext_bytes <= BLOCK_BYTES_IN_BATCH:
                    blocks = [DeliveredBlock(cid=str(cids[0]), block=store.get(cids[0]))]
                else:
                    for cid in self._sent.lacking(custodian.address, cids):
                        custodian.put_block(cid, store.get(cid))
                        self._sent.note(custodian.address, cid)
                    sent = cids
            size_bytes = sum(len(one.block) for one in blocks)
            full = batch.size_bytes + size_bytes > BLOCK_BYTES_IN_BATCH
            if batch.wanted and (full or len(batch.wanted) == DEPOSITS_PER_REQUEST):
                yield batch
                batch = _Batch()
            batch.wanted.append((record, share_index))
            batch.blocks += blocks
            batch.sent += sent
            batch.size_bytes += size_bytes
        if batch.wanted:
            yield batch

    def _deposit(self, custodian: Custodian, batch: "_Batch", deadline: int) -> None:
        requests = [
            self._request(custodian.address, record, share_index, deadline)
            for record, share_index in batch.wanted
        ]
        ciphertext_bytes = sum(record.ciphertext_bytes for record, _ in batch.wanted)
        deposits = DepositBatch(deposits=tuple(requests), blocks=tuple(batch.blocks))
        answer = custodian.deposit(deposits, ciphertext_bytes)
        if len(answer.receipts) != len(requests):
            raise PeerFailed(
                f"{custodian.name} answered {len(answer.receipts)} receipts for {len(requests)} deposits"
            )
        acknowledged = []
        for (record, _), request, receipt in zip(batch.wanted, requests, answer.receipts, strict=True):
            check_receipt(receipt, request, record.header_digest, custodian)
            acknowledged.append((record.record_id, record.header_digest, receipt.signature))
        self._journal.acknowledge(custodian.address, acknowledged, int(self._clock()))

    def _request(
        self, custodian: bytes, record: JournalRecord, share_index: int, deadline: int
    ) -> DepositRequest:
        custody_wrap = record.custody_wraps[share_index - 1]
        statement = deposit_statement(
            custodian,
            record.header,
            share_index,
            record.owner_wrap,
            record.consent_wrap,
            custody_wrap,
            deadline,
        )
        return DepositRequest(
            header=record.header,
            share_index=share_index,
            owner_wrap=record.owner_wrap,
            consent_wrap=record.consent_wrap,
            custody_wrap=custody_wrap,
            deadline=deadline,
            signature=sign_statement(self._keys.account, DEPOSIT_LABEL, statement),
        )


@dataclass
class _Batch:
    wanted: list[tuple[JournalRecord, int]] = field(default_factory=list)
    blocks: list[DeliveredBlock] = field(default_factory=list)
    sent: list[Cid] = field(default_factory=list)
    """Blocks that went ahead of it."""
    size_bytes: int = 0


def check_receipt(
    receipt: DepositReceipt, request: DepositRequest, header_digest: bytes, custodian: Custodian
) -> None:
    """Checks that a custodian signed for exactly this deposit.

    Raises:
        PeerFailed: it signed for something else, or did not sign.
    """
    called = f"{custodian.name} (0x{custodian.address.hex()})"
    named = (receipt.header_digest, receipt.share_index, receipt.custodian)
    if named != (header_digest, request.share_index, custodian.address):
        raise PeerFailed(f"{called} answered with a receipt for something else")
    statement = deposit_receipt_statement(
        receipt.record_id, receipt.header_digest, receipt.share_index, receipt.custodian
    )
    try:
        verify_statement(DEPOSIT_RECEIPT_LABEL, statement, receipt.signature, custodian.address)
    except CryptoError as error:
        raise PeerFailed(f"{called} did not sign its receipt: {error}") from error
