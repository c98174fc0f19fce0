"""Taking deposits: a custodian acknowledges only what it could release later, and signs for it.

What is checked, in this order, before anything but blocks is written (the code repeats the numbers):

1. The header parses, is of this ledger, and the caller is its author, a provider, and the patient's own.
2. The deposit is signed by the author, for this custodian, under this deadline.
3. The header obeys the network's rules, and this node's share is the one that is deposited.
4. Both public wraps are those that the header names.
5. The own wrap opens to the share that the header commits to.
6. There is time left, or the record is on the ledger already under this very header.
7. All ciphertext blocks are here, some perhaps with this very request, and are those that the header names.
"""

import contextlib
import hashlib
import time

from crypto.envelope import Header, check_header, open_custody_wrap
from crypto.errors import CryptoError
from crypto.header import require_digest
from crypto.statement import sign_statement, verify_statement
from crypto.streamed_payload import largest_ciphertext_bytes
from ledger.entities import PatientStatus
from ledger.state import LedgerState
from node.blocks import BlockService, parse_cid
from node.collaborators import SYSTEM_CLOCK, Clock, Ledger, OwnKeys
from node.deposits import Deposit, DepositStore
from node.errors import Conflict, InvalidRequest, NodeError, NotAllowed, NotInTime, Unavailable
from storage import BlockNotFoundError, Cid, StorageError, unixfs
from vocabulary import Role
from wire.custody import (
    DEPOSIT_LABEL,
    DEPOSIT_RECEIPT_LABEL,
    DepositBatch,
    DepositReceipt,
    DepositReceipts,
    DepositRequest,
    deposit_receipt_statement,
    deposit_statement,
)

LONGEST_DEADLINE_SECONDS = 24 * 3600
CATCH_UP_SECONDS = 3.0
"""How far ahead of chain time a deposit's deadline may lie: so long an orphan takes room at most."""


class DepositRefused(NodeError):
    """A deposit that this custodian could not stand for."""

    default_code, status, title = "deposit-refused", 422, "The deposit is refused"


class PatientUnknown(Unavailable):
    """No such patient on the ledger, as far as this node has followed it."""

    default_code = "patient-unknown"


class CustodyService:
    """Checks and keeps deposits, and opens this node's own shares."""

    def __init__(
        self,
        keys: OwnKeys,
        ledger: Ledger,
        blocks: BlockService,
        store: DepositStore,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._blocks = blocks
        self._store = store
        self._clock = clock

    def deposit(self, caller: bytes, batch: DepositBatch) -> DepositReceipts:
        """Keeps all deposits of a batch, durable when the receipts are signed, or none of them.

        The same deposit again gets the same receipt.

        Raises:
            DepositRefused, InvalidRequest, NotAllowed: what is wrong with one of them; none was kept.
            StoreIsFull: no room is left on the disk.
            Conflict: blocks are missing (``blocks-missing``), the key is taken by another deposit, or the record is
                on the ledger under another header.
        """
        self._blocks.require_room(sum(len(one.header) + 3 * len(one.custody_wrap) for one in batch.deposits))
        checked = self._check_all(caller, batch)
        self._blocks.accept_many(caller, [(one.cid, one.block) for one in batch.blocks])
        needed = {header.digest: self._check_ciphertext(header) for header, _ in checked}  # 7
        with self._blocks.referring_many(needed) as connection:
            held = [self._store.add(connection, deposit) for _, deposit in checked]
        return DepositReceipts(receipts=tuple(self._receipt(deposit) for deposit in held))

    def _check_all(self, caller: bytes, batch: DepositBatch) -> list[tuple[Header, Deposit]]:
        """The checks of each deposit. A provider may see a registration final a moment before this node does: that
        moment is waited for."""
        give_up_at = time.monotonic() + CATCH_UP_SECONDS
        while True:
            snapshot = self._ledger.snapshot()
            try:
                return [
                    self._check(caller, one, snapshot.state, snapshot.final.time) for one in batch.deposits
                ]
            except PatientUnknown:
                left_seconds = give_up_at - time.monotonic()
                if left_seconds <= 0:
                    raise
                with contextlib.suppress(NotInTime):
                    self._ledger.wait_for_block(snapshot.final.number + 1, left_seconds)

    def _check(
        self, caller: bytes, request: DepositRequest, state: LedgerState, now: int
    ) -> tuple[Header, Deposit]:
        header = self._read_header(request.header)  # 1
        self._check_author(caller, header, state)
        self._check_signature(caller, request)  # 2
        on_ledger = self._on_ledger(header, state)
        self._check_rules(header, request, state, on_ledger)  # 3
        try:
            require_digest("owner_wrap", request.owner_wrap, header.owner_wrap_digest)  # 4
            require_digest("consent_wrap", request.consent_wrap, header.consent_wrap_digest)
            self._open(header, request.custody_wrap)  # 5
        except CryptoError as error:
            raise DepositRefused(str(error)) from error
        if not on_ledger and not now < request.deadline <= now + LONGEST_DEADLINE_SECONDS:  # 6
            raise DepositRefused(
                f"expected a deadline after {now} and at most {LONGEST_DEADLINE_SECONDS} seconds later; came "
                f"{request.deadline}: deposit again with a new one"
            )
        return header, Deposit(
            record_id=header.identity.record_id,
            header_digest=header.digest,
            patient=header.identity.patient,
            author=header.identity.author,
            share_index=request.share_index,
            header=request.header,
            owner_wrap=request.owner_wrap,
            consent_wrap=request.consent_wrap,
            custody_wrap=request.custody_wrap,
            deadline=request.deadline,
            author_signature=request.signature,
            received_at=int(self._clock()),
            on_ledger=on_ledger,
        )

    def share(self, deposit: Deposit) -> tuple[Header, bytes]:
        """A deposit's header and this node's share (32 bytes), opened and checked against it.

        Raises:
            CryptoError: what is stored here was altered, or its key is lost.
        """
        header = Header.from_bytes(deposit.header)
        return header, self._open(header, deposit.custody_wrap)

    def _read_header(self, data: bytes) -> Header:
        try:
            header = Header.from_bytes(data)
        except CryptoError as error:
            raise InvalidRequest(f"the deposit's header cannot be read: {error}") from error
        scope, identity = self._ledger.scope, header.identity
        if (identity.chain_id, identity.contract) != (scope.chain_id, scope.contract):
            raise DepositRefused(
                "expected a record of the ledger that this node follows; came one of another"
            )
        return header

    def _check_author(self, caller: bytes, header: Header, state: LedgerState) -> None:
        identity = header.identity
        if caller != identity.author:
            raise NotAllowed(
                f"expected a deposit by the record's author 0x{identity.author.hex()}; came one by 0x{caller.hex()}"
            )
        member = state.members.get(caller)
        if member is None or not member.active or not member.roles & Role.PROVIDER.bit:
            raise NotAllowed(f"expected a deposit by an active provider; 0x{caller.hex()} is none")
        patient = state.patients.get(identity.patient)
        if patient is None:
            raise PatientUnknown(
                f"patient 0x{identity.patient.hex()} is not registered on the ledger as far as this node has followed "
                "it: ask again shortly"
            )
        if patient.provider != caller:
            raise NotAllowed(
                f"expected a deposit by the provider that registered patient 0x{identity.patient.hex()}; came one "
                f"by 0x{caller.hex()}"
            )
        if patient.status is not PatientStatus.ACTIVE and identity.record_id not in state.records:
            raise DepositRefused(
                "the patient ended this relationship or froze the pseudonym: nothing is published"
            )

    def _check_signature(self, caller: bytes, request: DepositRequest) -> None:
        statement = deposit_statement(
            self._keys.address,
            request.header,
            request.share_index,
            request.owner_wrap,
            request.consent_wrap,
            request.custody_wrap,
            request.deadline,
        )
        try:
            verify_statement(DEPOSIT_LABEL, statement, request.signature, caller)
        except CryptoError as error:
            raise DepositRefused(
                f"the deposit is not signed by its author for this custodian: {error}"
            ) from error

    @staticmethod
    def _on_ledger(header: Header, state: LedgerState) -> bool:
        record = state.records.get(header.identity.record_id)
        if record is None:
            return False
        if record.header_digest != header.digest:
            raise Conflict(
                f"record 0x{record.record_id.hex()} is on the ledger under another header",
                code="published-otherwise",
            )
        return True

    def _check_rules(
        self, header: Header, request: DepositRequest, state: LedgerState, on_ledger: bool
    ) -> None:
        def is_custodian(address: bytes) -> bool:
            member = state.members.get(address)
            if member is None:
                return False
            # A custodian may have lost its role since the record was published: late deposits are still welcome.
            return on_ledger or (member.active and bool(member.roles & Role.CUSTODIAN.bit))

        try:
            check_header(header, state.minimum_threshold, is_custodian)
            index = header.share_index_of(self._keys.address)
        except CryptoError as error:
            raise DepositRefused(str(error)) from error
        if index != request.share_index:
            raise DepositRefused(
                f"expected share {index}, which is this custodian's; came {request.share_index}"
            )

    def _open(self, header: Header, custody_wrap: bytes) -> bytes:
        entry = header.custodians[header.share_index_of(self._keys.address) - 1]
        key = self._keys.encryption_key(entry.key_digest)
        if key is None:
            current = self._keys.current_encryption_key.digest
            raise DepositRefused(
                f"expected a share sealed to a key of this custodian, now 0x{current.hex()}; "
                f"came one for 0x{entry.key_digest.hex()}: seal it to the key on the ledger",
                code="unknown-key",
            )
        return open_custody_wrap(key, custody_wrap, header, self._keys.address)

    def _check_ciphertext(self, header: Header) -> tuple[Cid, ...]:
        limit_bytes = largest_ciphertext_bytes(header.streamed)
        if header.ciphertext_size > limit_bytes:
            raise DepositRefused(
                f"expected at most {limit_bytes} bytes of ciphertext; the header names "
                f"{header.ciphertext_size}: publish it in parts"
            )
        root = parse_cid(header.ciphertext_cid)
        hashed, size_bytes = hashlib.sha256(), 0
        try:
            cids = tuple(unixfs.blocks_of(self._blocks.store, root, limit_bytes=header.ciphertext_size))
            # Or a few blocks would be hashed as the content of many; what is encrypted never repeats itself.
            unixfs.require_distinct_chunks(cids, header.ciphertext_size)
            for chunk in unixfs.cat(self._blocks.store, root, limit_bytes=header.ciphertext_size):
                hashed.update(chunk)
                size_bytes += len(chunk)
        except BlockNotFoundError as error:
            raise Conflict(
                f"put the ciphertext's blocks before the deposit: {error}", code="blocks-missing"
            ) from error
        except StorageError as error:
            raise DepositRefused(f"the ciphertext is not as its CID says: {error}") from error
        if hashed.digest() != header.ciphertext_digest or size_bytes != header.ciphertext_size:
            raise DepositRefused(
                "the blocks under the header's CID are not the ciphertext whose SHA-256 it names"
            )
        return cids

    def _receipt(self, deposit: Deposit) -> DepositReceipt:
        own = self._keys.address
        statement = deposit_receipt_statement(
            deposit.record_id, deposit.header_digest, deposit.share_index, own
        )
        return DepositReceipt(
            record_id=deposit.record_id,
            header_digest=deposit.header_digest,
            share_index=deposit.share_index,
            custodian=own,
            signature=sign_statement(self._keys.account, DEPOSIT_RECEIPT_LABEL, statement),
        )
