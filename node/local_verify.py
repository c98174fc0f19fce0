"""Verification of what a node stores itself: everything is derived again and compared with the replayed ledger.

1. Every block in the store is what its CID says.
2. Every block that a deposit or a publication needs is there.
3. Every deposit's header is the one of its key and of its record on the ledger.
4. Its wraps are those that the header names.
5. Its share opens with a key of this member, to the share that the header commits to.
6. Its ciphertext is the one that header and ledger name.
7. What this member published stands on the ledger as its journal says: header, CID, payload commitment.
8. Its copy of the access log gives, link by link, the heads of the replayed chains.
9. Its release receipts are its own, and of permits in that log.

``local_check`` fits ``ledger.verify.verify(local=...)``, which says at which block.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import select

from crypto.envelope import Header, open_custody_wrap, read_header
from crypto.errors import CryptoError
from crypto.header import require_digest
from crypto.release import ReleaseReceipt, verify_receipt
from ledger.blocks import Block, Position
from ledger.entities import Record
from ledger.events import Access, LoggedAccess
from ledger.heads import first_access_word, head_count, next_access_word
from ledger.state import LedgerState
from ledger.verification import Divergence
from node.block_store import open_block_store
from node.config import NodeConfig
from node.database import Database
from node.deposits import Deposit, DepositStore
from node.follow_store import DatabaseFollowStore
from node.identity import Identity
from node.initialise import open_identity
from node.release import identity_of
from node.tables import accesses
from node.tables_custody import block_references, releases
from node.tables_publish import publication_records
from storage import BlockStore, Cid, StorageError, corrupt_blocks, missing, unixfs

STEP = 11
"""The step of ``ledger.verify`` that this is."""
Found = tuple[str, str, str]
"""What differs, what was expected, what was found."""


def local_check(directory: Path) -> Callable[[LedgerState, Block], Divergence | None]:
    """The check of a node's directory, opened when it is called; the node may run meanwhile.

    Raises (when called):
        ConfigurationError, crypto.KeyfileError, storage.StorageError: the directory cannot be read.
    """

    def check(state: LedgerState, block: Block) -> Divergence | None:
        config = NodeConfig.load(directory)
        database = Database(config.database)
        try:
            with open_block_store(config) as opened:
                return LocalVerification(open_identity(config), database, opened.store, state, block).run()
        finally:
            database.close()

    return check


class LocalVerification:
    """One verification of a node's own store against the state at a block."""

    def __init__(
        self, identity: Identity, database: Database, store: BlockStore, state: LedgerState, block: Block
    ) -> None:
        self._identity = identity
        self._database = database
        self._store = store
        self._state = state
        self._block = block

    def run(self) -> Divergence | None:
        """The first divergence, by the steps of this module, or None."""
        steps = (
            self._blocks,
            self._references,
            self._deposits,
            self._publications,
            self._access_log,
            self._receipts,
        )
        for step in steps:
            for what, expected, found in step():
                return Divergence(STEP, what, expected, found, self._block.number)
        return None

    def _blocks(self) -> Iterator[Found]:
        # 1. Every block is what its CID says.
        for cid, error in corrupt_blocks(self._store):
            yield f"block {cid}", "bytes that hash to this CID", str(error)

    def _references(self) -> Iterator[Found]:
        # 2. Every block that is needed is there.
        with self._database.read() as connection:
            rows = connection.execute(select(block_references)).all()
        absent = missing(self._store, {Cid.parse(row.cid) for row in rows})
        for row in rows:
            if Cid.parse(row.cid) in absent:
                yield f"block {row.cid}", f"to be here for 0x{bytes(row.holder).hex()}", "no such block"

    def _deposits(self) -> Iterator[Found]:
        for deposit in DepositStore(self._database).all():
            what = f"deposit of record 0x{deposit.record_id.hex()}"
            record = self._state.records.get(deposit.record_id)
            if deposit.on_ledger and (record is None or record.header_digest != deposit.header_digest):
                yield what, "a record on the ledger under its header", "none"
                continue
            try:
                # 3. The header.
                header = self._header(deposit, record)
                # 4. The public wraps; the custody wrap's digest is checked where it is opened.
                require_digest("owner_wrap", deposit.owner_wrap, header.owner_wrap_digest)
                require_digest("consent_wrap", deposit.consent_wrap, header.consent_wrap_digest)
                # 5. The share.
                self._open(deposit, header)
                # 6. The ciphertext.
                yield from self._ciphertext(what, header, record)
            except (CryptoError, StorageError) as error:
                yield what, "what its author deposited", str(error)

    def _header(self, deposit: Deposit, record: Record | None) -> Header:
        if record is not None and record.header_digest == deposit.header_digest:
            identity = identity_of(self._state.scope, record)
            return read_header(deposit.header, record.header_digest, identity)
        require_digest("header", deposit.header, deposit.header_digest)
        return Header.from_bytes(deposit.header)

    def _open(self, deposit: Deposit, header: Header) -> None:
        own = self._identity.address
        entry = header.custodians[header.share_index_of(own) - 1]
        key = self._identity.encryption_key(entry.key_digest)
        if key is None:
            raise CryptoError(f"its share is sealed to key 0x{entry.key_digest.hex()}, not in the keystore")
        open_custody_wrap(key, deposit.custody_wrap, header, own)

    def _ciphertext(self, what: str, header: Header, record: Record | None) -> Iterator[Found]:
        root = Cid.parse(header.ciphertext_cid)
        if record is not None and record.header_digest == header.digest:
            on_ledger = Cid.from_parts(record.cid_codec, record.cid_digest)
            if on_ledger != root:
                yield f"{what}: CID", str(on_ledger), str(root)
        hashed = hashlib.sha256()
        for chunk in unixfs.cat(self._store, root, limit_bytes=header.ciphertext_size):
            hashed.update(chunk)
        if hashed.digest() != header.ciphertext_digest:
            yield f"{what}: ciphertext", header.ciphertext_digest.hex(), hashed.hexdigest()

    def _publications(self) -> Iterator[Found]:
        # 7. What this member published.
        journal = publication_records.c
        columns = (
            journal.record_id,
            journal.header_digest,
            journal.ciphertext_cid,
            journal.payload_commitment,
        )
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).where(journal.on_ledger.is_(True))).all()
        for row in rows:
            what = f"publication of record 0x{bytes(row.record_id).hex()}"
            record = self._state.records.get(bytes(row.record_id))
            if record is None:
                yield what, "a record on the ledger", "none"
                continue
            cid = Cid.from_parts(record.cid_codec, record.cid_digest)
            pairs = (
                ("header digest", record.header_digest.hex(), bytes(row.header_digest).hex()),
                ("CID", str(cid), row.ciphertext_cid),
                ("payload commitment", record.payload_commitment.hex(), bytes(row.payload_commitment).hex()),
            )
            for name, expected, found in pairs:
                if expected != found:
                    yield f"{what}: {name}", expected, found

    def _access_log(self) -> Iterator[Found]:
        # 8. The access log, link by link; only of what the node had read by this block.
        checkpoint = DatabaseFollowStore(self._database).load()[1]
        if checkpoint is None or checkpoint.block_number < self._block.number:
            return
        words = {patient: first_access_word(self._state.scope, patient) for patient in self._state.patients}
        order = (accesses.c.patient, accesses.c.sequence)
        with self._database.read() as connection:
            rows = connection.execute(
                select(accesses).where(accesses.c.block_number <= self._block.number).order_by(*order)
            )
            for row in rows:
                logged = LoggedAccess(
                    row.patient,
                    row.requester,
                    row.record_id,
                    Access(
                        row.sequence,
                        row.reason,
                        row.purpose,
                        row.consent_id,
                        row.response_key_digest,
                        row.person_commitment,
                        row.time,
                    ),
                    Position(row.block_number, row.block_hash, row.log_index, row.transaction_hash),
                )
                if logged.patient in words:
                    words[logged.patient] = next_access_word(words[logged.patient], logged)
        for patient, word in words.items():
            expected = self._state.access_words[patient]
            if word != expected:
                yield (
                    f"access log of patient 0x{patient.hex()}",
                    f"head {expected:#x} after {head_count(expected)} accesses",
                    f"head {word:#x} after {head_count(word)}",
                )

    def _receipts(self) -> Iterator[Found]:
        # 9. Release receipts.
        with self._database.read() as connection:
            rows = connection.execute(select(releases)).all()
        for row in rows:
            what = f"release receipt {row.number}"
            try:
                receipt = ReleaseReceipt.from_bytes(row.receipt)
                verify_receipt(receipt, row.receipt_signature)
            except CryptoError as error:
                yield what, "a receipt signed by this custodian", str(error)
                continue
            named = (receipt.binding.patient, receipt.binding.sequence, receipt.binding.record_id)
            if receipt.binding.custodian != self._identity.address or named != (
                row.patient,
                row.sequence,
                row.record_id,
            ):
                yield what, "a receipt of this custodian and this permit", "another's"
